// Load data: a stream, files or a pasted text become a datasource. The form and the spec beside it are the same document: what is
// changed in one is changed in the other. What the server makes of it is shown below, on events that are really there.

import { lazy, Suspense, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { postSupervisor, postTask, sample, supervisorSpec, taskSpec } from "../api/ingestion";
import { Icon } from "../parts/icon";
import { Failed, Loading } from "../parts/state";
import { adjust, go, usePlace } from "../router";
import { Head } from "../shell";
import { Arrival } from "./arrival";
import { documentsOf, SampleOf, type Looked } from "./sample";
import { at, FIRST, lacks, lacksInput, placeOf, put, readingOf, shownSpec, sourceOf, suggestTime, TIME_COLUMN, TIME_FORMAT, toSample, wholeSpec, type Json } from "./spec";
import { Wizard } from "./wizard";
import "../styles/load.css";

const Editor = lazy(() => import("../parts/editor"));

const laidOut = (spec: Json): string => JSON.stringify(spec, null, 2);

export default function Load(): ReactNode {
  const { parameters } = usePlace();
  const edited = parameters.get("edit");
  const again = parameters.get("again");
  const task = parameters.get("task");
  if (task !== null) return <Arrival key={task} task={task} />;
  // Another spec is another page: nothing of the one before stays in its form.
  return <Form key={`${edited ?? ""}\u0000${again ?? ""}`} edited={edited} again={again} />;
}

/** The text of the spec, and what is too long to stand in it. */
interface Written {
  text: string;
  beside: string | null;
}

function written(spec: Json): Written {
  const { shown, beside } = shownSpec(spec);
  return { text: laidOut(shown), beside };
}

/** What was sent last, for whoever comes back to it: in memory only, as there may be a password or somebody's data in it. */
let sent: { task: string; now: Written } | null = null;

function Form({ edited, again: task }: { edited: string | null; again: string | null }): ReactNode {
  const [now, setNow] = useState<Written>(() => (task !== null && sent?.task === task ? sent.now : written(FIRST)));
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [looked, setLooked] = useState<Looked | null>(null);
  const [looking, setLooking] = useState<"no" | "asked" | ApiError>("no");

  useEffect(() => {
    if (edited === null && (task === null || sent?.task === task)) return;
    const stop = new AbortController();
    (edited !== null ? supervisorSpec(edited, stop.signal) : taskSpec(task ?? "", stop.signal)).then(
      (spec) => {
        // Where a spec is shown its parts stand twice; what is posted needs them once.
        const once = typeof spec.spec === "object" && spec.spec !== null ? { type: spec.type, ...(spec.id === undefined || task !== null ? {} : { id: spec.id }), spec: spec.spec, ...(spec.context === undefined ? {} : { context: spec.context }), ...(spec.suspended === true ? { suspended: true } : {}) } : spec;
        setNow(written(once as Json));
      },
      (thrown) => {
        const failed = asApiError(thrown);
        if (failed.kind !== "cancelled") setError(failed);
      },
    );
    return () => stop.abort();
  }, [edited, task]);

  const spec = useMemo<Json | null>(() => {
    try {
      const read = JSON.parse(now.text) as unknown;
      return typeof read === "object" && read !== null && !Array.isArray(read) ? wholeSpec(read as Json, now.beside) : null;
    } catch {
      return null;
    }
  }, [now]);
  const set = (next: Json): void => setNow(written(next));
  const missing = spec === null ? [] : lacks(spec);
  const reading = useMemo(() => (spec === null ? null : readingOf(spec)), [spec]);
  const place = useMemo(() => (spec === null ? null : placeOf(spec)), [spec]);

  const asking = useRef<AbortController | null>(null);
  useEffect(() => () => asking.current?.abort(), []);
  const look = async (suggests: boolean): Promise<void> => {
    if (spec === null || reading === null || place === null) return;
    asking.current?.abort();
    const stop = new AbortController();
    asking.current = stop;
    setLooking("asked");
    const before = now;
    try {
      const answer = await sample(toSample(spec), stop.signal);
      if (stop.signal.aborted) return;
      setLooked({ answer, reading, place });
      const time = suggests ? suggestTime(documentsOf(answer)) : null;
      // What was typed meanwhile stays.
      if (time !== null) setNow((later) => (later === before ? written(put(put(spec, TIME_COLUMN, time.column), TIME_FORMAT, time.format)) : later));
      setLooking("no");
    } catch (thrown) {
      if (!stop.signal.aborted) setLooking(asApiError(thrown));
    }
  };
  // What the server makes of the events depends on the spec; who has seen some sees what the changed spec makes of them. Another
  // source is looked at when somebody asks: an address that is half typed is none. A pasted text is here whole.
  const again = looked !== null && (looked.reading !== reading || (looked.place !== place && spec !== null && sourceOf(spec) === "inline"));
  useEffect(() => {
    if (!again || spec === null || lacksInput(spec).length > 0) return;
    const timer = window.setTimeout(() => void look(false), 600);
    return () => window.clearTimeout(timer);
  }, [again, reading, place]);

  const submit = async (): Promise<void> => {
    if (spec === null) return;
    setBusy(true);
    setError(null);
    try {
      if (sourceOf(spec) === "kafka") {
        const { id } = await postSupervisor(spec);
        go("/ingestion", { supervisor: id });
      } else {
        const id = await postTask(spec);
        sent = { task: id, now };
        adjust({ task: id, again: null });
      }
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };

  const streams = spec === null || sourceOf(spec) === "kafka";
  return (
    <div className="page fill load-page">
      <Head title={edited === null ? "Load data" : <>Change <bdi>{edited}</bdi></>} about="Fill in what is asked; the spec says the same, and may be edited as well.">
        {missing.length > 0 && <span className="muted">needs {missing.join(", ")}</span>}
        <button type="button" className="primary" disabled={spec === null || missing.length > 0 || busy} onClick={() => void submit()}>
          <Icon name="run" size={15} /> {busy ? "Sending…" : edited !== null ? "Put it in force" : streams ? "Start reading" : "Load it"}
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
              <Wizard spec={spec} set={set} edited={edited !== null} looked={looked} current={looked !== null && looked.reading === reading} look={() => void look(true)} looking={looking} />
            )}
          </div>
        </section>
        <section className="panel" aria-label="Spec">
          <header>
            <h2 className="grow">Spec</h2>
            <button type="button" disabled={spec === null} onClick={() => spec !== null && set(spec)}>
              Lay out
            </button>
          </header>
          <div className="editor-room">
            <Suspense fallback={<Loading what="Opening the editor" />}>
              <Editor value={now.text} onChange={(text) => setNow({ ...now, text })} language="json" label="Spec" />
            </Suspense>
          </div>
        </section>
        {looked !== null && <SampleOf looked={looked} busy={looking === "asked" || again} stale={looked.place !== place && !again} onLook={() => void look(false)} made={spec === null ? [] : madeBy(spec)} />}
      </div>
    </div>
  );
}

/** Columns that the spec makes, which no event has. */
const madeBy = (spec: Json): string[] => {
  const names = (path: string[]): string[] => {
    const list = at(spec, path);
    return Array.isArray(list) ? (list as Json[]).map((one) => String(one?.name ?? "")) : [];
  };
  return [...names(["spec", "dataSchema", "transformSpec", "transforms"]), ...names(["spec", "ioConfig", "inputFormat", "flattenSpec", "fields"])];
};
