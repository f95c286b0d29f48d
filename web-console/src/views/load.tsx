// Load data: a topic of Kafka becomes a datasource. The form on the left and the spec on the right are the same document; what is
// changed in one is changed in the other.

import { lazy, Suspense, useEffect, useMemo, useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { postSupervisor, sample, supervisorSpec, type Sampled } from "../api/ingestion";
import { Icon } from "../parts/icon";
import { plural } from "../parts/format";
import { Failed, Loading } from "../parts/state";
import { Table, type TableColumn } from "../parts/table";
import { go, usePlace } from "../router";
import { Head } from "../shell";
import { at, BROKERS, dimensionsOf, EARLIEST, FIRST, FORMAT, GRANULARITY, lacks, METRICS, NAME, nameOfTopic, put, rollupOf, suggestTime, suggestTypes, TASKS, TIME_COLUMN, TIME_FORMAT, TOPIC, withDimensions, type Json } from "./spec";

const Editor = lazy(() => import("../parts/editor"));

const laidOut = (spec: Json): string => JSON.stringify(spec, null, 2);
const GRAINS: [string, string, number][] = [["NONE", "each event as it is", 1], ["SECOND", "a second", 1e3], ["MINUTE", "a minute", 6e4], ["FIVE_MINUTE", "five minutes", 3e5], ["HOUR", "an hour", 3.6e6], ["DAY", "a day", 8.64e7]];

export default function Load(): ReactNode {
  const { parameters } = usePlace();
  const edited = parameters.get("edit");
  const [text, setText] = useState(() => laidOut(FIRST));
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [sampled, setSampled] = useState<Json[] | null>(null);
  const [sampling, setSampling] = useState<"no" | "asked" | ApiError>("no");
  const [named, setNamed] = useState(false);

  useEffect(() => {
    if (edited === null) return;
    const stop = new AbortController();
    supervisorSpec(edited, stop.signal).then(
      (spec) => {
        // Where a spec is shown its parts stand twice; what is posted needs them once.
        setText(laidOut(typeof spec.spec === "object" && spec.spec !== null ? { type: spec.type, ...(spec.id === undefined ? {} : { id: spec.id }), spec: spec.spec, ...(spec.context === undefined ? {} : { context: spec.context }), ...(spec.suspended === true ? { suspended: true } : {}) } : spec));
        setNamed(true);
      },
      (thrown) => {
        const failed = asApiError(thrown);
        if (failed.kind !== "cancelled") setError(failed);
      },
    );
    return () => stop.abort();
  }, [edited]);

  const spec = useMemo<Json | null>(() => {
    try {
      const read = JSON.parse(text) as unknown;
      return typeof read === "object" && read !== null && !Array.isArray(read) ? (read as Json) : null;
    } catch {
      return null;
    }
  }, [text]);
  const set = (next: Json): void => setText(laidOut(next));
  const change = (path: string[], value: unknown): void => {
    if (spec !== null) set(put(spec, path, value));
  };
  const said = (path: string[]): string => String(at(spec, path) ?? "");
  const missing = spec === null ? [] : lacks(spec);

  const look = async (): Promise<void> => {
    if (spec === null) return;
    setSampling("asked");
    try {
      const answer = await sample({ ...spec, samplerConfig: { numRows: 200, timeoutMs: 10_000 } });
      const rows = answer.data.map((one: Sampled) => one.input ?? null).filter((one): one is Json => one !== null);
      setSampled(rows);
      const time = suggestTime(rows);
      if (time !== null) set(put(put(spec, TIME_COLUMN, time.column), TIME_FORMAT, time.format));
      setSampling("no");
    } catch (thrown) {
      setSampling(asApiError(thrown));
    }
  };
  const submit = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const { id } = await postSupervisor(spec);
      go("/ingestion", { supervisor: id });
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };

  const dimensions = spec === null ? [] : dimensionsOf(spec);
  const discovers = at(spec, ["spec", "dataSchema", "dimensionsSpec", "useSchemaDiscovery"]) === true || dimensions.length === 0;
  const rollup = at(spec, [...GRANULARITY, "rollup"]) === true;
  const format = said([...FORMAT, "type"]) || "json";
  const grain = GRAINS.find(([name]) => name === said([...GRANULARITY, "queryGranularity"]).toUpperCase());
  const shrink = sampled === null || sampled.length === 0 ? null : rollupOf(sampled, said(TIME_COLUMN), dimensions.filter((one) => one.type === "string").map((one) => one.name), grain?.[2] ?? 1);

  return (
    <div className="page fill">
      <Head title={edited === null ? "Load data from Kafka" : <>Change <bdi>{edited}</bdi></>} about="Fill in what is asked on the left; the spec on the right says the same, and may be edited as well.">
        {missing.length > 0 && <span className="muted">needs {missing.join(", ")}</span>}
        <button type="button" className="primary" disabled={spec === null || missing.length > 0 || busy} onClick={() => void submit()}>
          <Icon name="run" size={15} /> {busy ? "Sending…" : edited === null ? "Start reading" : "Put it in force"}
        </button>
      </Head>
      {error !== null && <Failed error={error} />}
      <div className="wizard">
        <section className="panel" aria-label="Form">
          <div className="inside">
            {spec === null ? (
              <div className="notice warn">
                <Icon name="warn" />
                <div>
                  <strong>The spec is not JSON at the moment.</strong> The form goes on when it is.
                </div>
              </div>
            ) : (
              <>
                <fieldset>
                  <legend>1 · Where events come from</legend>
                  <div className="pair">
                    <label className="field">
                      <span>Brokers</span>
                      <input value={said(BROKERS)} placeholder="kafka-1:9092,kafka-2:9092" spellCheck={false} onChange={(event) => change(BROKERS, event.target.value)} />
                    </label>
                    <label className="field">
                      <span>Topic</span>
                      <input
                        value={said(TOPIC)}
                        placeholder="orders"
                        spellCheck={false}
                        onChange={(event) => {
                          const next = put(spec, TOPIC, event.target.value);
                          set(named ? next : put(next, NAME, nameOfTopic(event.target.value)));
                        }}
                      />
                    </label>
                    <label className="field">
                      <span>Format</span>
                      <select value={format} onChange={(event) => change(FORMAT, event.target.value === "json" ? { type: "json" } : event.target.value === "tsv" ? { type: "tsv", findColumnsFromHeader: false, columns: [] } : event.target.value === "csv" ? { type: "csv", findColumnsFromHeader: false, columns: [] } : { type: event.target.value })}>
                        {["json", "csv", "tsv", ...(["json", "csv", "tsv"].includes(format) ? [] : [format])].map((one) => (
                          <option key={one} value={one}>
                            {one === "json" ? "JSON" : one.toUpperCase()}
                          </option>
                        ))}
                      </select>
                    </label>
                    <label className="field">
                      <span>Begin with</span>
                      <select value={at(spec, EARLIEST) === true ? "first" : "new"} onChange={(event) => change(EARLIEST, event.target.value === "first")}>
                        <option value="first">the earliest event that Kafka has</option>
                        <option value="new">events from now on</option>
                      </select>
                    </label>
                  </div>
                  {(format === "csv" || format === "tsv") && (
                    <label className="field">
                      <span>Columns, in order</span>
                      <input value={[at(spec, [...FORMAT, "columns"]) ?? []].flat().join(", ")} placeholder="time, customer, amount" onChange={(event) => change([...FORMAT, "columns"], event.target.value.split(",").map((one) => one.trim()).filter((one) => one !== ""))} />
                    </label>
                  )}
                  <div className="row">
                    <button type="button" disabled={said(BROKERS) === "" || said(TOPIC) === "" || sampling === "asked"} onClick={() => void look()}>
                      <Icon name="search" size={15} /> {sampling === "asked" ? "Looking…" : "Show some events"}
                    </button>
                    {sampled !== null && <span className="muted">{plural(sampled.length, "event")}</span>}
                  </div>
                  {typeof sampling === "object" &&
                    (/there is no POST/.test(sampling.message) || sampling.kind === "missing" ? (
                      <div className="notice warn">
                        <Icon name="warn" />
                        <div>
                          <strong>This server shows no samples yet.</strong> Say which column holds the time; the other columns and their types are found as events come. What cannot be parsed is shown with its event under Ingestion.
                        </div>
                      </div>
                    ) : (
                      <Failed error={sampling} />
                    ))}
                  {sampled !== null && sampled.length > 0 && <Sample rows={sampled} />}
                </fieldset>
                <fieldset>
                  <legend>2 · When each event was</legend>
                  <div className="pair">
                    <label className="field">
                      <span>Column of the time</span>
                      <input list="columns-of-sample" value={said(TIME_COLUMN)} spellCheck={false} onChange={(event) => change(TIME_COLUMN, event.target.value)} />
                      <datalist id="columns-of-sample">
                        {[...new Set((sampled ?? []).flatMap((row) => Object.keys(row)))].map((one) => (
                          <option key={one} value={one} />
                        ))}
                      </datalist>
                    </label>
                    <label className="field">
                      <span>Written as</span>
                      <select value={said(TIME_FORMAT) || "auto"} onChange={(event) => change(TIME_FORMAT, event.target.value)}>
                        {[["auto", "ISO 8601 or milliseconds"], ["iso", "ISO 8601: 2026-11-23T02:17:47Z"], ["posix", "seconds since 1970"], ["millis", "milliseconds since 1970"], ["micro", "microseconds since 1970"], ["nano", "nanoseconds since 1970"]].map(([key, words]) => (
                          <option key={key} value={key}>
                            {words}
                          </option>
                        ))}
                        {!["auto", "iso", "posix", "millis", "micro", "nano", ""].includes(said(TIME_FORMAT)) && <option value={said(TIME_FORMAT)}>{said(TIME_FORMAT)}</option>}
                      </select>
                    </label>
                  </div>
                </fieldset>
                <fieldset>
                  <legend>3 · What is kept of it</legend>
                  <label className="field">
                    <span>Name of the datasource</span>
                    <input
                      value={said(NAME)}
                      spellCheck={false}
                      onChange={(event) => {
                        setNamed(true);
                        change(NAME, event.target.value);
                      }}
                    />
                  </label>
                  <label className="check">
                    <input type="checkbox" checked={discovers} onChange={(event) => set(event.target.checked ? withDimensions(spec, []) : withDimensions(spec, sampled === null ? [{ name: "", type: "string" }] : suggestTypes(sampled, said(TIME_COLUMN))))} />
                    Find columns and their types as events come
                  </label>
                  {!discovers && (
                    <div className="lines">
                      {dimensions.map((one, index) => (
                        <div key={index}>
                          <input aria-label={`Column ${index + 1}`} value={one.name} spellCheck={false} onChange={(event) => set(withDimensions(spec, dimensions.map((each, place) => (place === index ? { ...each, name: event.target.value } : each))))} />
                          <select aria-label={`Type of column ${index + 1}`} value={one.type} onChange={(event) => set(withDimensions(spec, dimensions.map((each, place) => (place === index ? { ...each, type: event.target.value } : each))))}>
                            {["string", "long", "float", "double", "json", "auto"].map((type) => (
                              <option key={type}>{type}</option>
                            ))}
                          </select>
                          <button type="button" className="bare" aria-label={`Leave out ${one.name || `column ${index + 1}`}`} onClick={() => set(withDimensions(spec, dimensions.filter((_, place) => place !== index)))}>
                            <Icon name="close" size={14} />
                          </button>
                        </div>
                      ))}
                      <div>
                        <button type="button" onClick={() => set(withDimensions(spec, [...dimensions, { name: "", type: "string" }]))}>
                          <Icon name="add" size={14} /> Column
                        </button>
                      </div>
                    </div>
                  )}
                </fieldset>
                <fieldset>
                  <legend>4 · How it is laid down</legend>
                  <div className="pair">
                    <label className="field">
                      <span>A segment for each</span>
                      <select value={said([...GRANULARITY, "segmentGranularity"]).toUpperCase() || "HOUR"} onChange={(event) => change([...GRANULARITY, "segmentGranularity"], event.target.value)}>
                        {["FIFTEEN_MINUTE", "HOUR", "SIX_HOUR", "DAY", "WEEK", "MONTH"].map((one) => (
                          <option key={one} value={one}>
                            {one.toLowerCase().replace("_", " ")}
                          </option>
                        ))}
                      </select>
                      <small>Of time. An hour for millions of events a day, a day for fewer.</small>
                    </label>
                    <label className="field">
                      <span>Tasks that read</span>
                      <input type="number" min={1} max={64} value={Number(at(spec, TASKS) ?? 1)} onChange={(event) => change(TASKS, Math.max(1, Math.round(Number(event.target.value) || 1)))} />
                      <small>No more than the topic has partitions.</small>
                    </label>
                  </div>
                  <label className="check">
                    <input
                      type="checkbox"
                      checked={rollup}
                      onChange={(event) => {
                        const next = put(spec, [...GRANULARITY, "rollup"], event.target.checked);
                        set(event.target.checked ? put(put(next, [...GRANULARITY, "queryGranularity"], "MINUTE"), METRICS, at(spec, METRICS) ?? [{ type: "count", name: "events" }]) : put(next, [...GRANULARITY, "queryGranularity"], "NONE"));
                      }}
                    />
                    Roll up: keep sums of equal events instead of each of them
                  </label>
                  {rollup && (
                    <>
                      <label className="field">
                        <span>Events count as equal within</span>
                        <select value={said([...GRANULARITY, "queryGranularity"]).toUpperCase()} onChange={(event) => change([...GRANULARITY, "queryGranularity"], event.target.value)}>
                          {GRAINS.map(([key, words]) => (
                            <option key={key} value={key}>
                              {words}
                            </option>
                          ))}
                        </select>
                        <small>Sums and counts are listed in the spec under metricsSpec. What is rolled up cannot be taken apart again.</small>
                      </label>
                      {shrink !== null && (
                        <p className="muted">
                          Of the {plural(shrink.before, "event")} above {plural(shrink.after, "row")} would be left.
                        </p>
                      )}
                    </>
                  )}
                </fieldset>
              </>
            )}
          </div>
        </section>
        <section className="panel" aria-label="Spec">
          <header>
            <h2 className="grow">Spec</h2>
            <button type="button" disabled={spec === null} onClick={() => spec !== null && setText(laidOut(spec))}>
              Lay out
            </button>
          </header>
          <div className="editor-room">
            <Suspense fallback={<Loading what="Opening the editor" />}>
              <Editor value={text} onChange={setText} language="json" label="Spec of the supervisor" />
            </Suspense>
          </div>
        </section>
      </div>
    </div>
  );
}

function Sample({ rows }: { rows: Json[] }): ReactNode {
  const columns = useMemo(
    () =>
      [...new Set(rows.flatMap((row) => Object.keys(row)))].map(
        (name): TableColumn<Json> => ({ key: name, title: name, text: (row) => (row[name] === null || row[name] === undefined ? null : typeof row[name] === "object" ? JSON.stringify(row[name]) : String(row[name])) }),
      ),
    [rows],
  );
  return <Table label="Some events" rows={rows} columns={columns} heightMax={240} fit={false} />;
}
