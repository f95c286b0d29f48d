// The form of a spec: where events come from, how they are read, when each was, what is kept, and how it is laid down. It shows what
// it knows of the spec and leaves alone what it does not.

import { useState, type ReactNode } from "react";
import type { ApiError } from "../api/error";
import { may } from "../api/session";
import { bytes, count, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { Failed } from "../parts/state";
import { useSession } from "../session";
import { documentsOf, type Looked } from "./sample";
import {
  APPENDS, at, BROKERS, DATA, dimensionsOf, EARLIEST, FILES, FILTER, FLATTEN, FOLDER, FORMAT, formatOf, formatOfName, formatOfText, GRANULARITY, INPUT, keepOf, lacksInput, listOf, METRICS, NAME, nameOfTopic, put, sourceOf,
  suggestMetrics, suggestPaths, suggestTypes, TASKS, TIME_COLUMN, TIME_FORMAT, TOPIC, TRANSFORMS, TUNING, URIS, withDimensions, withKeep, withList, withSource, type Dimension, type Json, type Keep, type Source,
} from "./spec";

const GRAINS: [string, string][] = [["NONE", "each event as it is"], ["SECOND", "a second"], ["MINUTE", "a minute"], ["FIVE_MINUTE", "five minutes"], ["HOUR", "an hour"], ["DAY", "a day"]];
const TIMES: [string, string][] = [["auto", "ISO 8601 or milliseconds"], ["iso", "ISO 8601: 2026-11-23T02:17:47Z"], ["posix", "seconds since 1970"], ["millis", "milliseconds since 1970"], ["micro", "microseconds since 1970"], ["nano", "nanoseconds since 1970"]];
const SOURCES: [Exclude<Source, "other">, string][] = [["kafka", "Kafka"], ["inline", "Paste or upload"], ["http", "Files on the web"], ["local", "Files on the server"]];
const FORMATS: [string, string][] = [["json", "JSON"], ["csv", "CSV"], ["tsv", "TSV"], ["lines", "Lines of text"], ["regex", "Regular expression"], ["parquet", "Parquet"], ["kafka", "Kafka record with key and headers"]];
const FIGURES: [string, string][] = [
  ["count", "number of events"], ["longSum", "sum, whole numbers"], ["doubleSum", "sum"], ["longMin", "least, whole numbers"], ["longMax", "most, whole numbers"], ["doubleMin", "least"], ["doubleMax", "most"],
  ["HLLSketchBuild", "distinct values (HLL)"], ["thetaSketch", "distinct values (theta)"], ["quantilesDoublesSketch", "quantiles"],
];

/** Of a file that is chosen here. */
const FILE_MAX = 16 * 1024 * 1024;

interface WizardProps {
  spec: Json;
  set: (next: Json) => void;
  /** It is a supervisor's that is there. */
  edited: boolean;
  looked: Looked | null;
  /** The sample is one of this spec. */
  current: boolean;
  look: () => void;
  looking: "no" | "asked" | ApiError;
}

export function Wizard(props: WizardProps): ReactNode {
  return (
    <>
      <From {...props} />
      <Read {...props} />
      <When {...props} />
      <Kept {...props} />
      <Laid {...props} />
    </>
  );
}

const said = (spec: Json, path: string[]): string => String(at(spec, path) ?? "");
const inputsOf = (looked: Looked | null): Json[] => (looked === null ? [] : documentsOf(looked.answer));
const rowsOf = (looked: Looked | null): Json[] => (looked?.answer.data ?? []).map((one) => one.parsed ?? null).filter((one): one is Json => one !== null);

/** A name that was made here follows what it was made of; one that was written stays. */
function named(before: Json, next: Json, from: string, now: string): Json {
  const name = said(before, NAME);
  return name === "" || name === nameOfTopic(from) ? put(next, NAME, nameOfTopic(now)) : next;
}

/** The last part of an address or a path, without what says its format. */
const baseOf = (place: string): string => (place.replace(/[?#].*$/, "").replace(/\/+$/, "").split("/").pop() ?? "").replace(/(\.(jsonl?|ndjson|csv|tsv|parquet|txt|log|gz))+$/i, "");

function From({ spec, set, edited, looked, look, looking }: WizardProps): ReactNode {
  const { who } = useSession();
  const source = sourceOf(spec);
  const [told, setTold] = useState<string | null>(null);
  // What a task may not read is not offered: pasting needs no right but the datasource's.
  const offered = SOURCES.filter(([one]) => one === source || one === "inline" || may(who, "EXTERNAL", one, "READ"));
  const change = (path: string[], value: unknown): void => set(put(spec, path, value));
  /** The format that a name or a text tells, as long as nobody has said anything about it. */
  const fitted = (next: Json, kind: string | null): Json => {
    const untouched = JSON.stringify(at(spec, FORMAT)) === JSON.stringify(formatOf(said(spec, [...FORMAT, "type"]), source));
    return kind === null || !untouched || kind === said(spec, [...FORMAT, "type"]) || (kind === "parquet" && source === "inline") ? next : put(next, FORMAT, formatOf(kind, source));
  };
  const take = async (file: File): Promise<void> => {
    setTold(null);
    if (file.size > FILE_MAX) {
      setTold(`${file.name} has ${bytes(file.size)}. Up to ${bytes(FILE_MAX)} can be sent from here; put larger files where the server can fetch them.`);
      return;
    }
    const text = await file.text();
    if (text.includes("\u0000")) {
      setTold(`${file.name} is no text. Put it where the server can fetch it, and choose its format there.`);
      return;
    }
    set(named(spec, fitted(put(spec, DATA, text), formatOfName(file.name) ?? formatOfText(text)), said(spec, NAME), baseOf(file.name)));
  };
  const text = said(spec, DATA);
  const uris = (at(spec, URIS) ?? []) as unknown[];
  return (
    <fieldset>
      <legend>1 · Where events come from</legend>
      {!edited && (
        <div className="segmented" role="group" aria-label="Source">
          {offered.map(([one, words]) => (
            <button key={one} type="button" aria-pressed={source === one} onClick={() => set(withSource(spec, one))}>
              {words}
            </button>
          ))}
        </div>
      )}
      {source === "other" && <p className="muted">This spec reads from a source that the form does not know. Edit the spec itself.</p>}
      {source === "kafka" && (
        <div className="pair">
          <label className="field">
            <span>Brokers</span>
            <input value={said(spec, BROKERS)} placeholder="kafka-1:9092,kafka-2:9092" spellCheck={false} onChange={(event) => change(BROKERS, event.target.value)} />
          </label>
          <label className="field">
            <span>Topic</span>
            <input value={said(spec, TOPIC)} placeholder="orders" spellCheck={false} onChange={(event) => set(named(spec, put(spec, TOPIC, event.target.value), said(spec, TOPIC), event.target.value))} />
          </label>
        </div>
      )}
      {source === "inline" && (
        <>
          <label className="field">
            <span>Events, one a line</span>
            <textarea
              rows={6}
              className="mono"
              value={text.length > 200_000 ? text.slice(0, 2_000) : text}
              readOnly={text.length > 200_000}
              placeholder={'{"time": "2026-11-23T02:17:47Z", "country": "DE", "amount": 12.5}'}
              spellCheck={false}
              onChange={(event) => {
                const next = put(spec, DATA, event.target.value);
                set(text === "" ? fitted(next, formatOfText(event.target.value)) : next);
              }}
              onDragOver={(event) => event.preventDefault()}
              onDrop={(event) => {
                const [file] = event.dataTransfer.files;
                if (file === undefined) return;
                event.preventDefault();
                void take(file);
              }}
            />
          </label>
          <div className="row">
            <label className="button">
              <Icon name="add" size={14} /> Choose a file…
              <input
                type="file"
                className="visually-hidden"
                accept=".json,.jsonl,.ndjson,.csv,.tsv,.txt,.log,text/*,application/json"
                onChange={(event) => {
                  const [file] = event.target.files ?? [];
                  event.target.value = "";
                  if (file !== undefined) void take(file);
                }}
              />
            </label>
            {text !== "" && (
              <>
                <span className="muted figures">
                  {plural(text.split("\n").filter((line) => line.trim() !== "").length, "line")}, {bytes(text.length)}
                  {text.length > 200_000 && "; the beginning is shown"}
                </span>
                <button type="button" className="link" onClick={() => change(DATA, "")}>
                  Clear
                </button>
              </>
            )}
          </div>
          {told !== null && <p className="wrong" role="alert">{told}</p>}
        </>
      )}
      {source === "http" && (
        <>
          <label className="field">
            <span>Addresses, one a line</span>
            <textarea
              rows={3}
              className="mono"
              value={uris.join("\n")}
              placeholder="https://example.org/orders-2026-11.json.gz"
              spellCheck={false}
              onChange={(event) => {
                // A line that is begun stays while it is written.
                const next = event.target.value === "" ? [] : event.target.value.split("\n").map((line) => line.trim());
                set(named(spec, fitted(put(spec, URIS, next), formatOfName(next[0] ?? "")), baseOf(String(uris[0] ?? "")), baseOf(next[0] ?? "")));
              }}
            />
            <small>Files that end in .gz are unpacked. Hosts of a private network are read only if an operator named them.</small>
          </label>
          <details open={said(spec, [...INPUT, "httpAuthenticationUsername"]) !== "" ? true : undefined}>
            <summary>They ask for a name and a password</summary>
            <div className="pair">
              {[["httpAuthenticationUsername", "Name", "text"], ["httpAuthenticationPassword", "Password", "password"]].map(([key = "", words, type]) => (
                <label key={key} className="field">
                  <span>{words}</span>
                  <input type={type} autoComplete="off" value={typeof at(spec, [...INPUT, key]) === "object" ? "" : said(spec, [...INPUT, key])} spellCheck={false} onChange={(event) => change([...INPUT, key], event.target.value === "" ? undefined : event.target.value)} />
                </label>
              ))}
            </div>
          </details>
        </>
      )}
      {source === "local" && (
        <div className="pair">
          <label className="field">
            <span>Folder</span>
            <input value={said(spec, FOLDER)} placeholder="/srv/events" spellCheck={false} onChange={(event) => set(named(spec, put(put(spec, FILES, undefined), FOLDER, event.target.value), baseOf(said(spec, FOLDER)), baseOf(event.target.value)))} />
            <small>Of the machine that the server runs on, where an operator lets it read.</small>
          </label>
          <label className="field">
            <span>Files named like</span>
            <input value={said(spec, FILTER)} placeholder="*.json" spellCheck={false} onChange={(event) => set(fitted(put(spec, FILTER, event.target.value), formatOfName(event.target.value)))} />
          </label>
        </div>
      )}
      <div className="pair">
        <Format spec={spec} set={set} source={source} />
        {source === "kafka" && (
          <label className="field">
            <span>Begin with</span>
            <select value={at(spec, EARLIEST) === true ? "first" : "new"} onChange={(event) => change(EARLIEST, event.target.value === "first")}>
              <option value="first">the earliest event that Kafka has</option>
              <option value="new">events from now on</option>
            </select>
          </label>
        )}
        {source !== "kafka" && (
          <label className="field">
            <span>What is there already</span>
            <select value={at(spec, APPENDS) === true ? "append" : "replace"} onChange={(event) => change(APPENDS, event.target.value === "append")}>
              <option value="replace">is replaced where rows come</option>
              <option value="append">stays, rows are added</option>
            </select>
          </label>
        )}
      </div>
      <div className="row">
        <button type="button" disabled={lacksInput(spec).length > 0 || looking === "asked"} onClick={look}>
          <Icon name="search" size={15} /> {looking === "asked" ? "Looking…" : "Show some events"}
        </button>
        {looked !== null && <span className="muted">{plural(looked.answer.numRowsRead, "event")}, shown below</span>}
      </div>
      {typeof looking === "object" && <Failed error={looking} />}
    </fieldset>
  );
}

function Format({ spec, set, source }: { spec: Json; set: (next: Json) => void; source: Source }): ReactNode {
  const format = said(spec, [...FORMAT, "type"]) || "json";
  const fits = FORMATS.filter(([one]) => (one === "parquet" ? source === "http" || source === "local" : one === "kafka" ? source === "kafka" && format === "kafka" : true));
  return (
    <label className="field">
      <span>Format</span>
      <select value={format} onChange={(event) => set(put(spec, FORMAT, formatOf(event.target.value, source)))}>
        {[...fits, ...(fits.some(([one]) => one === format) ? [] : [[format, format]])].map(([one, words]) => (
          <option key={one} value={one}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A list of objects, an input for each of some of their fields; what else they have stays. */
function Lines({ list, fields, add, first, set }: { list: Json[]; fields: { key: string; label: string; placeholder?: string; wide?: boolean; of?: [string, string][]; without?: (one: Json) => boolean }[]; add: string; first: Json; set: (next: Json[]) => void }): ReactNode {
  const change = (place: number, key: string, value: string): void => set(list.map((one, index) => (index === place ? { ...one, [key]: value } : one)));
  return (
    <div className="lines">
      {list.map((one, index) => (
        <div key={index}>
          {fields.map(({ key, label, placeholder, wide, of, without }) =>
            without?.(one) === true ? (
              <span key={key} className="absent" />
            ) : of === undefined ? (
              <input key={key} aria-label={`${label} ${index + 1}`} placeholder={placeholder} className={wide === true ? "mono wide" : undefined} value={String(one[key] ?? "")} spellCheck={false} onChange={(event) => change(index, key, event.target.value)} />
            ) : (
              <select key={key} aria-label={`${label} ${index + 1}`} value={String(one[key] ?? "")} onChange={(event) => change(index, key, event.target.value)}>
                {[...of, ...(of.some(([value]) => value === one[key]) ? [] : [[String(one[key] ?? ""), String(one[key] ?? "")]])].map(([value, words]) => (
                  <option key={value} value={value}>
                    {words}
                  </option>
                ))}
              </select>
            ),
          )}
          <button type="button" className="bare" aria-label={`Leave out ${String(one.name ?? "") || `${add.toLowerCase()} ${index + 1}`}`} onClick={() => set(list.filter((_, place) => place !== index))}>
            <Icon name="close" size={14} />
          </button>
        </div>
      ))}
      <div>
        <button type="button" onClick={() => set([...list, first])}>
          <Icon name="add" size={14} /> {add}
        </button>
      </div>
    </div>
  );
}

/** How bytes become fields: names of columns, paths into documents, columns computed from others, and which events are kept. */
function Read({ spec, set, looked }: WizardProps): ReactNode {
  const format = said(spec, [...FORMAT, "type"]) || "json";
  const paths = listOf(spec, FLATTEN);
  const transforms = listOf(spec, TRANSFORMS);
  const keep = keepOf(spec);
  const suggested = format === "json" || format === "parquet" ? suggestPaths(inputsOf(looked), paths.map((one) => String(one.expr ?? ""))) : [];
  const columns = at(spec, [...FORMAT, "columns"]);
  const header = at(spec, [...FORMAT, "findColumnsFromHeader"]) === true;
  const filter = (next: Keep): void => set(withKeep(spec, next));
  return (
    <fieldset>
      <legend>2 · How they are read</legend>
      {(format === "csv" || format === "tsv") && (
        <label className="check">
          <input
            type="checkbox"
            checked={header}
            onChange={(event) => set(put(put(spec, [...FORMAT, "findColumnsFromHeader"], event.target.checked), [...FORMAT, "columns"], event.target.checked ? undefined : (columns ?? [])))}
          />
          The first line of a file names the columns
        </label>
      )}
      {format === "regex" && (
        <label className="field">
          <span>Pattern, with a group for each column</span>
          <input className="mono" value={said(spec, [...FORMAT, "pattern"])} placeholder="(\S+) (\S+) \[(.*?)\]" spellCheck={false} onChange={(event) => set(put(spec, [...FORMAT, "pattern"], event.target.value))} />
        </label>
      )}
      {(((format === "csv" || format === "tsv") && !header) || format === "regex") && (
        <label className="field">
          <span>Columns, in order</span>
          <NamesInput names={[columns ?? []].flat().map(String)} onChange={(names) => set(put(spec, [...FORMAT, "columns"], names))} />
        </label>
      )}
      {(format === "json" || format === "parquet") && (
        <div className="group">
          <h3>Fields within fields</h3>
          <p className="muted">A path makes a column of what stands deeper in an event.</p>
          {suggested.length > 0 && (
            <div className="row chips" role="group" aria-label="Paths of the sample">
              {suggested.map((one) => (
                <button key={one.expr} type="button" className="chip" title={`Make a column of ${one.expr}`} onClick={() => set(put(spec, FLATTEN, [...paths, { type: "path", ...one }]))}>
                  <Icon name="add" size={11} /> <bdi>{one.expr}</bdi>
                </button>
              ))}
              {suggested.length > 1 && (
                <button type="button" className="link" onClick={() => set(put(spec, FLATTEN, [...paths, ...suggested.map((one) => ({ type: "path", ...one }))]))}>
                  Take all
                </button>
              )}
            </div>
          )}
          <Lines
            list={paths}
            set={(next) => set(next.length === 0 && at(spec, [...FORMAT, "flattenSpec", "useFieldDiscovery"]) === undefined ? put(spec, [...FORMAT, "flattenSpec"], undefined) : withList(spec, FLATTEN, next))}
            add="Path"
            first={{ type: "path", name: "", expr: "$." }}
            fields={[{ key: "name", label: "Name of path", placeholder: "city" }, { key: "expr", label: "Path", placeholder: "$.address.city", wide: true }]}
          />
        </div>
      )}
      <div className="group">
        <h3>Computed columns</h3>
        <p className="muted">Of the same name as a field, it stands in its place.</p>
        <Lines
          list={transforms}
          set={(next) => set(next.length === 0 && keep.is === "all" ? put(spec, ["spec", "dataSchema", "transformSpec"], undefined) : withList(spec, TRANSFORMS, next))}
          add="Computed column"
          first={{ type: "expression", name: "", expression: "" }}
          fields={[{ key: "name", label: "Name of computed column", placeholder: "country" }, { key: "expression", label: "Expression", placeholder: "upper(country)", wide: true }]}
        />
      </div>
      <div className="group">
        <h3>Which events are kept</h3>
        <div className="lines keeps">
          <div>
            <select
              aria-label="Events to keep"
              value={keep.is}
              onChange={(event) => {
                const is = event.target.value as Keep["is"];
                const before = keep.is === "equal" || keep.is === "differs" ? keep : { column: "", value: "" };
                filter(is === "equal" || is === "differs" ? { ...before, is } : is === "expression" ? { is, expression: "" } : { is: "all" });
              }}
            >
              <option value="all">all of them</option>
              <option value="equal">where a column is</option>
              <option value="differs">where a column is not</option>
              <option value="expression">where an expression holds</option>
              {keep.is === "other" && <option value="other">by the filter in the spec</option>}
            </select>
            {(keep.is === "equal" || keep.is === "differs") && (
              <>
                <input aria-label="Column of the filter" list="columns-of-sample" placeholder="column" value={keep.column} spellCheck={false} onChange={(event) => filter({ ...keep, column: event.target.value })} />
                <input aria-label="Value of the filter" placeholder="value" value={keep.value} spellCheck={false} onChange={(event) => filter({ ...keep, value: event.target.value })} />
              </>
            )}
            {keep.is === "expression" && <input aria-label="Expression of the filter" className="mono wide" placeholder="amount > 0 && country != 'XX'" value={keep.expression} spellCheck={false} onChange={(event) => filter({ is: "expression", expression: event.target.value })} />}
          </div>
        </div>
      </div>
    </fieldset>
  );
}

/** Names between commas; what is typed stays as it is until it is left. */
function NamesInput({ names, onChange }: { names: string[]; onChange: (names: string[]) => void }): ReactNode {
  const [typed, setTyped] = useState<string | null>(null);
  return (
    <input
      value={typed ?? names.join(", ")}
      placeholder="time, customer, amount"
      spellCheck={false}
      onChange={(event) => {
        setTyped(event.target.value);
        onChange(event.target.value.split(",").map((one) => one.trim()).filter((one) => one !== ""));
      }}
      onBlur={() => setTyped(null)}
    />
  );
}

function When({ spec, set, looked }: WizardProps): ReactNode {
  const format = said(spec, TIME_FORMAT) || "auto";
  const columns = [...new Set([...inputsOf(looked), ...rowsOf(looked)].flatMap((row) => Object.keys(row)))].filter((one) => one !== "__time");
  return (
    <fieldset>
      <legend>3 · When each event was</legend>
      <div className="pair">
        <label className="field">
          <span>Column of the time</span>
          <input list="columns-of-sample" value={said(spec, TIME_COLUMN)} spellCheck={false} onChange={(event) => set(put(spec, TIME_COLUMN, event.target.value))} />
          <datalist id="columns-of-sample">
            {columns.map((one) => (
              <option key={one} value={one} />
            ))}
          </datalist>
        </label>
        <label className="field">
          <span>Written as</span>
          <input list="formats-of-time" value={format} spellCheck={false} onChange={(event) => set(put(spec, TIME_FORMAT, event.target.value))} />
          <datalist id="formats-of-time">
            {TIMES.map(([key, words]) => (
              <option key={key} value={key}>
                {words}
              </option>
            ))}
            <option value="yyyy-MM-dd HH:mm:ss">a pattern of letters, such as this</option>
          </datalist>
          <small>{TIMES.find(([key]) => key === format)?.[1] ?? "a pattern of letters: yyyy-MM-dd HH:mm:ss"}</small>
        </label>
      </div>
    </fieldset>
  );
}

const TYPES = ["string", "long", "float", "double", "json", "auto"];

/** What the sample's columns are, by the server and by what is in them. */
export function typesOf(looked: Looked | null, time: string): Dimension[] {
  const known = looked?.answer.logicalDimensions;
  if (known !== undefined && known.length > 0) return known.map(({ name, type }) => ({ name, type: TYPES.includes(type) ? type : "auto" }));
  return looked === null ? [{ name: "", type: "string" }] : suggestTypes(inputsOf(looked), time);
}

function Kept({ spec, set, looked, current }: WizardProps): ReactNode {
  const dimensions = dimensionsOf(spec);
  const discovers = at(spec, ["spec", "dataSchema", "dimensionsSpec", "useSchemaDiscovery"]) === true || dimensions.length === 0;
  const rollup = at(spec, [...GRANULARITY, "rollup"]) === true;
  const answer = looked?.answer ?? null;
  // Of a spec that is no more, its numbers are not shown.
  const shrink = answer === null || !current || answer.numRowsRolledUp === undefined || answer.numRowsIndexed === 0 ? null : { before: answer.numRowsIndexed, after: answer.numRowsRolledUp };
  const seen = (answer?.logicalDimensions ?? []).filter((one) => !discovers && !dimensions.some((known) => known.name === one.name));
  const roll = (on: boolean): Json => {
    const next = put(spec, [...GRANULARITY, "rollup"], on);
    if (!on) return put(put(next, [...GRANULARITY, "queryGranularity"], "NONE"), METRICS, undefined);
    const metrics = listOf(spec, METRICS).length > 0 ? listOf(spec, METRICS) : suggestMetrics(discovers ? (looked === null ? [] : typesOf(looked, said(spec, TIME_COLUMN))) : dimensions);
    const summed = metrics.map((one) => one.fieldName);
    const kept = discovers ? next : withDimensions(next, dimensions.filter((one) => !summed.includes(one.name)));
    return put(put(kept, [...GRANULARITY, "queryGranularity"], "MINUTE"), METRICS, metrics);
  };
  return (
    <fieldset>
      <legend>4 · What is kept of it</legend>
      <label className="field">
        <span>Name of the datasource</span>
        <input value={said(spec, NAME)} spellCheck={false} onChange={(event) => set(put(spec, NAME, event.target.value))} />
      </label>
      <label className="check">
        <input type="checkbox" checked={discovers} onChange={(event) => set(event.target.checked ? withDimensions(spec, []) : withDimensions(spec, typesOf(looked, said(spec, TIME_COLUMN))))} />
        Find columns and their types as events come
      </label>
      {!discovers && (
        <>
          <Lines
            list={dimensions.map((one) => ({ ...one }))}
            set={(next) => set(withDimensions(spec, next.map((one) => ({ name: String(one.name), type: String(one.type) }))))}
            add="Column"
            first={{ name: "", type: "string" }}
            fields={[{ key: "name", label: "Column" }, { key: "type", label: "Type of column", of: TYPES.map((one) => [one, one]) }]}
          />
          {seen.length > 0 && (
            <p className="muted">
              The sample has {plural(seen.length, "more column")}: <bdi>{seen.slice(0, 8).map((one) => one.name).join(", ")}</bdi>
              {seen.length > 8 && " and others"}
            </p>
          )}
        </>
      )}
      <label className="check">
        <input type="checkbox" checked={rollup} onChange={(event) => set(roll(event.target.checked))} />
        Roll up: keep sums of equal events instead of each of them
      </label>
      {rollup && (
        <>
          <label className="field">
            <span>Events count as equal within</span>
            <select value={said(spec, [...GRANULARITY, "queryGranularity"]).toUpperCase()} onChange={(event) => set(put(spec, [...GRANULARITY, "queryGranularity"], event.target.value))}>
              {GRAINS.map(([key, words]) => (
                <option key={key} value={key}>
                  {words}
                </option>
              ))}
            </select>
            <small>and if all their columns are. What is rolled up cannot be taken apart again.</small>
          </label>
          <div className="group">
            <h3>Figures that are kept</h3>
            <Lines
              list={listOf(spec, METRICS)}
              set={(next) => set(withList(spec, METRICS, next))}
              add="Figure"
              first={{ type: "doubleSum", name: "", fieldName: "" }}
              fields={[{ key: "type", label: "Kind of figure", of: FIGURES }, { key: "fieldName", label: "Field of figure", placeholder: "of the field", without: (one) => one.type === "count" }, { key: "name", label: "Name of figure", placeholder: "is named" }]}
            />
          </div>
          {shrink === null ? (
            <p className="muted">Show some events, to see how much this shrinks them.</p>
          ) : (
            <div className="shrink" role="status">
              <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                <rect width="100" height="8" fill="var(--line)" />
                <rect width={(100 * shrink.after) / shrink.before} height="8" fill="var(--c1)" />
              </svg>
              <p>
                Of {plural(shrink.before, "event")} {plural(shrink.after, "row")} would be left
                {shrink.after < shrink.before ? <>: {(shrink.before / shrink.after).toFixed(1)} events in a row, {count(Math.round(100 * (1 - shrink.after / shrink.before)))} % fewer rows.</> : ": nothing shrinks, as no two events are equal in all columns. Leave out a column that tells each event apart, or widen the time."}
              </p>
            </div>
          )}
        </>
      )}
    </fieldset>
  );
}

function Laid({ spec, set }: WizardProps): ReactNode {
  const streams = sourceOf(spec) === "kafka";
  const rowsAt = streams ? [...TUNING, "maxRowsPerSegment"] : [...TUNING, "partitionsSpec", "maxRowsPerSegment"];
  const granularity = said(spec, [...GRANULARITY, "segmentGranularity"]).toUpperCase() || "HOUR";
  const known = ["FIFTEEN_MINUTE", "HOUR", "SIX_HOUR", "DAY", "WEEK", "MONTH", "YEAR", "ALL"];
  return (
    <fieldset>
      <legend>5 · How it is laid down</legend>
      <div className="pair">
        <label className="field">
          <span>A segment for each</span>
          <select value={granularity} onChange={(event) => set(put(spec, [...GRANULARITY, "segmentGranularity"], event.target.value))}>
            {[...known, ...(known.includes(granularity) ? [] : [granularity])].map((one) => (
              <option key={one} value={one}>
                {one === "ALL" ? "all of time" : one.toLowerCase().replace("_", " ")}
              </option>
            ))}
          </select>
          <small>Of time. An hour for millions of events a day, a day for fewer, a month for little of long ago.</small>
        </label>
        <label className="field">
          <span>Rows in a segment at most</span>
          <input type="number" min={1} step={100_000} value={Number(at(spec, rowsAt) ?? 5_000_000)} onChange={(event) => set(put(streams ? spec : put(spec, [...TUNING, "partitionsSpec", "type"], at(spec, [...TUNING, "partitionsSpec", "type"]) ?? "dynamic"), rowsAt, Math.max(1, Math.round(Number(event.target.value) || 1))))} />
          <small>{count(Number(at(spec, rowsAt) ?? 5_000_000))}; where more come, the time has several segments.</small>
        </label>
        {streams && (
          <label className="field">
            <span>Tasks that read</span>
            <input type="number" min={1} max={64} value={Number(at(spec, TASKS) ?? 1)} onChange={(event) => set(put(spec, TASKS, Math.max(1, Math.round(Number(event.target.value) || 1))))} />
            <small>No more than the topic has partitions.</small>
          </label>
        )}
      </div>
    </fieldset>
  );
}
