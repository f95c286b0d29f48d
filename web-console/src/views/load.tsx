// Load data: a topic of Kafka becomes a datasource. The form on the left and the spec on the right are the same document; what is
// changed in one is changed in the other.

import { lazy, Suspense, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { postSupervisor, sample, supervisorSpec, type SampleAnswer } from "../api/ingestion";
import { Icon } from "../parts/icon";
import { count, plural } from "../parts/format";
import { Failed, Loading } from "../parts/state";
import { Table, type TableColumn } from "../parts/table";
import { go, usePlace } from "../router";
import { Head } from "../shell";
import { at, BROKERS, dimensionsOf, EARLIEST, FIRST, FORMAT, GRANULARITY, lacks, METRICS, NAME, nameOfTopic, put, readingOf, suggestTime, suggestTypes, TASKS, TIME_COLUMN, TIME_FORMAT, TOPIC, withDimensions, type Json } from "./spec";

const Editor = lazy(() => import("../parts/editor"));

const laidOut = (spec: Json): string => JSON.stringify(spec, null, 2);
const GRAINS: [string, string][] = [["NONE", "each event as it is"], ["SECOND", "a second"], ["MINUTE", "a minute"], ["FIVE_MINUTE", "five minutes"], ["HOUR", "an hour"], ["DAY", "a day"]];

export default function Load(): ReactNode {
  const edited = usePlace().parameters.get("edit");
  // Another spec is another page: nothing of the one before stays in its form.
  return <Form key={edited ?? ""} edited={edited} />;
}

function Form({ edited }: { edited: string | null }): ReactNode {
  const [text, setText] = useState(() => laidOut(FIRST));
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [answered, setAnswered] = useState<{ answer: SampleAnswer; reading: string } | null>(null);
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

  const reading = spec === null ? null : readingOf(spec);
  const asking = useRef<AbortController | null>(null);
  useEffect(() => () => asking.current?.abort(), []);
  const look = async (suggests: boolean): Promise<void> => {
    if (spec === null || reading === null) return;
    asking.current?.abort();
    const stop = new AbortController();
    asking.current = stop;
    setSampling("asked");
    try {
      const answer = await sample({ ...spec, samplerConfig: { numRows: 200, timeoutMs: 10_000 } }, stop.signal);
      if (stop.signal.aborted) return;
      setAnswered({ answer, reading });
      const time = suggests ? suggestTime(inputsOf(answer)) : null;
      // What was typed meanwhile stays.
      if (time !== null) setText((now) => (now === text ? laidOut(put(put(spec, TIME_COLUMN, time.column), TIME_FORMAT, time.format)) : now));
      setSampling("no");
    } catch (thrown) {
      if (!stop.signal.aborted) setSampling(asApiError(thrown));
    }
  };
  // What the server makes of the events depends on the spec; who has seen some sees what the changed spec makes of them.
  useEffect(() => {
    if (answered === null || reading === null || answered.reading === reading) return;
    const timer = window.setTimeout(() => void look(false), 800);
    return () => window.clearTimeout(timer);
  }, [answered, reading]);
  const sampled = useMemo(() => (answered === null ? null : inputsOf(answered.answer)), [answered]);
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
  // Of a spec that is no more, its numbers are not shown.
  const shrink = answered === null || answered.reading !== reading || answered.answer.numRowsRolledUp === undefined ? null : { before: answered.answer.numRowsIndexed, after: answered.answer.numRowsRolledUp };

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
                    <button type="button" disabled={said(BROKERS) === "" || said(TOPIC) === "" || sampling === "asked"} onClick={() => void look(true)}>
                      <Icon name="search" size={15} /> {sampling === "asked" ? "Looking…" : "Show some events"}
                    </button>
                    {sampled !== null && <span className="muted">{plural(sampled.length, "event")}</span>}
                  </div>
                  {typeof sampling === "object" && <Failed error={sampling} />}
                  {answered !== null && <Unread answer={answered.answer} />}
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

const inputsOf = (answer: SampleAnswer): Json[] => answer.data.map((one) => one.input ?? null).filter((one): one is Json => one !== null);

/** The events of the sample of which the spec makes no row, with the reason. */
function Unread({ answer }: { answer: SampleAnswer }): ReactNode {
  const wrong = answer.data.filter((one) => one.unparseable === true || one.error !== undefined);
  if (wrong.length === 0) return null;
  return (
    <div className="notice warn" role="status">
      <Icon name="warn" />
      <div>
        <strong>
          {count(wrong.length)} of the {plural(answer.numRowsRead, "event")} could not be read.
        </strong>
        <ul className="history" aria-label="Events that could not be read" tabIndex={0} style={{ maxHeight: 240, overflow: "auto" }}>
          {wrong.slice(0, 20).map((one, at) => (
            <li key={at}>
              <bdi>{one.error ?? "unparseable"}</bdi>
              {one.input !== undefined && one.input !== null && <pre className="document">{JSON.stringify(one.input).slice(0, 2000)}</pre>}
            </li>
          ))}
        </ul>
        {wrong.length > 20 && <span className="muted">The first 20 are shown.</span>}
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
