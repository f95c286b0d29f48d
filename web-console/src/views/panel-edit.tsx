// Making or changing a panel, and a dashboard's variables: the statement and what it is drawn as, with the panel beside it as it
// would be.

import { lazy, Suspense, useEffect, useState, type ReactNode } from "react";
import { savedQueries } from "../api/shelf";
import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Loading } from "../parts/state";
import { KIND_TITLES, PANEL_KINDS, VARIABLES_MAX, type Panel, type Variable } from "./board";
import { PanelBody, type Asking } from "./panel";
import { useVocabulary } from "./vocabulary";

const Editor = lazy(() => import("../parts/editor"));

export type PanelDraft = Pick<Panel, "title" | "kind" | "query" | "unit">;

const UNITS: [string, string][] = [["", "none"], ["rows", "rows"], ["bytes", "bytes"], ["ms", "milliseconds"], ["percent", "percent"]];

export const FIRST_QUERY = 'SELECT TIME_FLOOR(__time, :grain) AS "time", COUNT(*) AS "rows"\nFROM "…"\nWHERE __time >= :from AND __time < :to\nGROUP BY 1\nORDER BY 1';

/** Changes once the person has paused, so that a half-written statement is not asked. */
function usePaused<T>(value: T, ms: number): T {
  const [paused, setPaused] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setPaused(value), ms);
    return () => window.clearTimeout(timer);
  }, [JSON.stringify(value)]);
  return paused;
}

export function PanelDialog({ panel, asking, variables, onClose, onDone }: { panel: PanelDraft | null; asking: Asking; variables: Variable[]; onClose: () => void; onDone: (panel: PanelDraft) => void }): ReactNode {
  const [draft, setDraft] = useState<PanelDraft>(panel ?? { title: "", kind: "line", query: "", unit: null });
  const known = useVocabulary();
  const saved = useLive((signal) => savedQueries.list(signal), []);
  const shown = usePaused(draft, 900);
  const own = draft.unit !== null && !UNITS.some(([unit]) => unit === draft.unit);
  const [words, setWords] = useState(own);
  const set = (change: Partial<PanelDraft>): void => setDraft((before) => ({ ...before, ...change }));
  const takeSaved = async (id: string): Promise<void> => {
    const one = await savedQueries.get(id).catch(() => null);
    if (one?.content.language === "sql") setDraft((before) => ({ ...before, query: one.content.text, title: before.title === "" ? one.name : before.title }));
  };
  return (
    <Dialog
      kind="side"
      wide
      title={panel === null ? "New panel" : "Change the panel"}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Not now
          </button>
          <button type="button" className="primary" disabled={draft.query.trim() === ""} onClick={() => onDone(draft)}>
            {panel === null ? "Add it" : "Take it"}
          </button>
        </>
      }
    >
      <div className="panel-fields">
        <label className="field grow">
          <span>Title</span>
          <input value={draft.title} maxLength={200} onChange={(event) => set({ title: event.target.value })} autoComplete="off" data-first />
        </label>
        <label className="field">
          <span>Shown as</span>
          <select value={draft.kind} onChange={(event) => set({ kind: event.target.value as Panel["kind"] })}>
            {PANEL_KINDS.map((kind) => (
              <option key={kind} value={kind}>
                {KIND_TITLES[kind]}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>Unit</span>
          <select
            value={words ? "own" : (draft.unit ?? "")}
            onChange={(event) => {
              setWords(event.target.value === "own");
              set({ unit: event.target.value === "" || event.target.value === "own" ? null : event.target.value });
            }}
          >
            {UNITS.map(([unit, title]) => (
              <option key={unit} value={unit}>
                {title}
              </option>
            ))}
            <option value="own">another word…</option>
          </select>
        </label>
        {words && (
          <label className="field">
            <span>Word</span>
            <input value={draft.unit ?? ""} maxLength={32} onChange={(event) => set({ unit: event.target.value === "" ? null : event.target.value })} placeholder="€, edits, °C" autoComplete="off" />
          </label>
        )}
      </div>
      <div className="field">
        <div className="row">
          <strong className="grow">Statement</strong>
          {saved.data !== null && saved.data.length > 0 && (
            <label className="row">
              <span className="muted">From a saved query</span>
              <select value="" onChange={(event) => void takeSaved(event.target.value)}>
                <option value="">choose…</option>
                {saved.data.map((one) => (
                  <option key={one.id} value={one.id}>
                    {one.name}
                  </option>
                ))}
              </select>
            </label>
          )}
        </div>
        <div className="edit-room">
          <Suspense fallback={<Loading what="Opening the editor" />}>
            <Editor value={draft.query} onChange={(query) => set({ query })} language="sql" label="Statement of the panel" vocabulary={known.data} placeholder={FIRST_QUERY} />
          </Suspense>
        </div>
        <small className="muted">
          Marks that are filled in: <code>:from</code> and <code>:to</code> (the stretch of time), <code>:grain</code> (a period that divides it well)
          {variables.map((one) => (
            <span key={one.name}>
              , <code>:{one.name}</code>
            </span>
          ))}
          .
        </small>
      </div>
      <section className="panel board-panel preview" aria-label="As it would be">
        <header>
          <h2>
            <bdi>{draft.title === "" ? "Untitled" : draft.title}</bdi>
          </h2>
        </header>
        <PanelBody key={shown.kind} panel={shown} asking={{ ...asking, everyMs: null }} />
      </section>
    </Dialog>
  );
}

interface Row extends Variable {
  key: number;
  /** Typed with commas between them. */
  typed: string;
}

export function VariablesDialog({ variables, onClose, onDone }: { variables: Variable[]; onClose: () => void; onDone: (variables: Variable[]) => void }): ReactNode {
  const [rows, setRows] = useState<Row[]>(() => variables.map((one, key) => ({ ...one, key, typed: (one.values ?? []).join(", ") })));
  const set = (key: number, change: Partial<Row>): void => setRows((before) => before.map((one) => (one.key === key ? { ...one, ...change } : one)));
  const wrong = (row: Row): string | null => {
    if (!/^[A-Za-z_]\w*$/.test(row.name)) return "A name is of letters, digits and underscores.";
    if (["from", "to", "grain"].includes(row.name)) return "This name is a mark of the dashboard's own.";
    return rows.some((one) => one.key !== row.key && one.name === row.name) ? "Two variables have this name." : null;
  };
  const done = (): void =>
    onDone(
      rows.map(({ name, label, typed, query, default: first }) => {
        const values = typed.split(",").map((one) => one.trim()).filter((one) => one !== "");
        const asked = query === null || query.trim() === "" ? null : query;
        return { name, ...(label === undefined || label.trim() === "" ? {} : { label: label.trim() }), values: asked === null && values.length > 0 ? values : null, query: asked, default: first };
      }),
    );
  return (
    <Dialog
      wide
      title="Variables"
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Not now
          </button>
          <button type="button" className="primary" disabled={rows.some((row) => wrong(row) !== null)} onClick={done}>
            Take them
          </button>
        </>
      }
    >
      <p className="muted">A variable is chosen above the panels and stands in their statements as its mark. Its values are given here, or asked for; without either it is typed.</p>
      {rows.map((row) => (
        <fieldset key={row.key}>
          <legend>{row.name === "" ? "New variable" : `:${row.name}`}</legend>
          <div className="panel-fields">
            <label className="field">
              <span>Name</span>
              <input value={row.name} maxLength={64} onChange={(event) => set(row.key, { name: event.target.value })} spellCheck={false} autoComplete="off" />
            </label>
            <label className="field">
              <span>Label</span>
              <input value={row.label ?? ""} maxLength={200} onChange={(event) => set(row.key, { label: event.target.value })} autoComplete="off" />
            </label>
            <label className="field">
              <span>At first</span>
              <input value={row.default} onChange={(event) => set(row.key, { default: event.target.value })} spellCheck={false} autoComplete="off" />
            </label>
            <label className="field">
              <span>Values</span>
              <select value={row.query === null ? "given" : "asked"} onChange={(event) => set(row.key, { query: event.target.value === "asked" ? (row.query ?? "") : null })}>
                <option value="given">given here</option>
                <option value="asked">asked for</option>
              </select>
            </label>
            <button type="button" className="bare" aria-label={`Take the variable ${row.name} away`} onClick={() => setRows(rows.filter((one) => one.key !== row.key))}>
              <Icon name="close" />
            </button>
          </div>
          {row.query === null ? (
            <label className="field">
              <span>Values, with commas between them</span>
              <input value={row.typed} onChange={(event) => set(row.key, { typed: event.target.value })} spellCheck={false} autoComplete="off" />
            </label>
          ) : (
            <label className="field">
              <span>Statement whose first column are the values</span>
              <textarea rows={3} value={row.query} onChange={(event) => set(row.key, { query: event.target.value })} spellCheck={false} />
            </label>
          )}
          {row.name !== "" && wrong(row) !== null && <p className="wrong">{wrong(row)}</p>}
        </fieldset>
      ))}
      {rows.length < VARIABLES_MAX && (
        <div>
          <button type="button" onClick={() => setRows([...rows, { key: 1 + Math.max(-1, ...rows.map((one) => one.key)), name: "", values: null, query: null, default: "", typed: "" }])}>
            <Icon name="add" size={15} /> Another variable
          </button>
        </div>
      )}
    </Dialog>
  );
}
