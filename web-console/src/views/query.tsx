// The query page: sheets of SQL or native JSON, what there is to ask about beside them, and what came of the last run below.

import * as Menu from "@radix-ui/react-dropdown-menu";
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { runState, type RunState } from "../api/progress";
import { savedQueries, type Kept, type SavedQuery } from "../api/shelf";
import { explain, newQueryId, quoted, runNative, runSql, type Plan, type Progress, type Result, type Table } from "../api/sql";
import { Dialog } from "../parts/dialog";
import { Drop } from "../parts/drop";
import type { Problem } from "../parts/editor";
import { count, duration, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useNow } from "../parts/live";
import { Empty, Failed, Loading } from "../parts/state";
import { Filter } from "../parts/table";
import { Instant, Name } from "../parts/text";
import { adjust, usePlace } from "../router";
import { useSession } from "../session";
import { useWatch } from "../watch";
import { PlanTree } from "./course";
import { ClashDialog, KeepDialog, putOr, type Clash } from "./keep";
import { Results } from "./results";
import { Running } from "./running";
import { SavedQueries } from "./saved";
import { add, close, kept, languageOf, load, openKept, remember, save, unsaved, type Desk, type KeptAs } from "./sheets";
import { useVocabulary } from "./vocabulary";

const Editor = lazy(() => import("../parts/editor"));

const LIMITS = [1_000, 10_000, 100_000, 1_000_000];

type Outcome =
  | { is: "running"; since: number; progress: Progress; stop: AbortController; queryId: string | null }
  | { is: "rows"; result: Result; text: string; native: boolean; limit: number; run: RunState | null }
  | { is: "plan"; plan: Plan; run: RunState | null }
  | { is: "failed"; error: ApiError; part: boolean };

export default function Query(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
  const [desk, setDesk] = useState<Desk>(() => load(who.username, kept()));
  const [outcomes, setOutcomes] = useState<Record<string, Outcome>>({});
  const [limit, setLimit] = useState(1_000);
  const [showPast, setShowPast] = useState(false);
  // Where there is no room for them beside the statement, tables are laid over it when they are asked for.
  const [showTables, setShowTables] = useState(false);
  const { offers } = useWatch();
  const keeps = offers.dashboards !== false;
  const [dialog, setDialog] = useState<"saved" | "save" | null>(null);
  const [clash, setClash] = useState<Clash<SavedQuery> | null>(null);
  const [notSaved, setNotSaved] = useState<ApiError | null>(null);
  const known = useVocabulary();
  // Of each sheet, how its last run went, to be laid over its plan.
  const ran = useRef<Record<string, { text: string; run: RunState }>>({});
  const running = useRef<Record<string, AbortController>>({});

  useEffect(() => save(who.username, desk, kept()), [desk]);

  // A link brings its statement along; it is shown and not run: a link from somebody else must not ask on its own.
  useEffect(() => {
    const text = parameters.get("q");
    if (text === null) return;
    setDesk((before) => {
      const same = before.sheets.find((one) => one.text === text);
      if (same !== undefined) return { ...before, open: same.id };
      const blank = before.sheets.find((one) => one.text === "" && one.id === before.open);
      return blank === undefined ? add(before, text) : { ...before, sheets: before.sheets.map((one) => (one.id === blank.id ? { ...one, text } : one)) };
    });
    adjust({ q: null }, "replace");
  }, [parameters]);

  useEffect(() => {
    const wanted = parameters.get("saved");
    if (wanted === null) return;
    adjust({ saved: null }, "replace");
    savedQueries.get(wanted).then(opened, (thrown: unknown) => setNotSaved(asApiError(thrown)));
  }, [parameters]);

  useEffect(() => () => Object.values(running.current).forEach((one) => one.abort()), []);

  const sheet = desk.sheets.find((one) => one.id === desk.open) ?? desk.sheets[0];
  const id = sheet?.id ?? "";
  const text = sheet?.text ?? "";
  const language = languageOf(text);
  const outcome = outcomes[id];
  const settle = useCallback((of: string, next: Outcome) => setOutcomes((before) => ({ ...before, [of]: next })), []);
  const write = (next: string): void => setDesk((before) => ({ ...before, sheets: before.sheets.map((one) => (one.id === before.open ? { ...one, text: next } : one)) }));

  const asKept = ({ id: of, version, content, mayEdit }: Kept<SavedQuery>): KeptAs => ({ id: of, version, text: content.text, mayEdit });
  function opened(document: Kept<SavedQuery>): void {
    setDesk((before) => openKept(before, document.name, asKept(document)));
    setDialog(null);
  }
  /** A kept query was saved, renamed or taken as somebody else left it. */
  const changed = (document: Kept<SavedQuery>, takeText: boolean): void =>
    setDesk((before) => ({
      ...before,
      sheets: before.sheets.map((one) => (one.kept?.id === document.id || (takeText && one.id === before.open) ? { ...one, title: document.name, ...(takeText && one.id === before.open ? { text: document.content.text } : {}), kept: asKept(document) } : one)),
    }));
  const content = (): SavedQuery => ({ language: language === "json" ? "native" : "sql", text });

  const saveIt = async (): Promise<void> => {
    if (sheet === undefined || text.trim() === "") return;
    setNotSaved(null);
    if (sheet.kept === undefined || !sheet.kept.mayEdit) return setDialog("save");
    if (!unsaved(sheet)) return;
    try {
      // Its words are those that it has now: here only the text was changed.
      const { name, description, sharedWith, version } = await savedQueries.get(sheet.kept.id);
      const mine = { name, description, sharedWith, content: content() };
      const answer = version === sheet.kept.version ? await putOr(savedQueries, sheet.kept.id, sheet.kept.version, mine) : { clash: { theirs: await savedQueries.get(sheet.kept.id), mine } };
      if ("clash" in answer) setClash(answer.clash);
      else changed(answer.kept, true);
    } catch (thrown) {
      const error = asApiError(thrown);
      // Deleted by somebody: it can be saved anew.
      if (error.kind === "missing") setDesk((before) => ({ ...before, sheets: before.sheets.map(({ kept: as, ...one }) => (one.id === sheet.id || as === undefined ? one : { ...one, kept: as })) }));
      setNotSaved(error);
    }
  };

  const run = async (selected: string | null): Promise<void> => {
    // As it stands in the editor: places in errors count from its first character.
    const asked = selected ?? text;
    if (asked.trim() === "" || id === "") return;
    running.current[id]?.abort();
    const stop = new AbortController();
    running.current[id] = stop;
    const since = Date.now();
    let queryId = newQueryId();
    const native = languageOf(asked) === "json";
    if (native) queryId = ownId(asked) ?? queryId;
    settle(id, { is: "running", since, progress: { rows: 0, bytes: 0 }, stop, queryId });
    let told = 0;
    const onProgress = (progress: Progress): void => {
      // Each is a drawing of the page; ten a second are enough.
      if (Date.now() - told < 100) return;
      told = Date.now();
      settle(id, { is: "running", since, progress, stop, queryId });
    };
    const past = { text: asked, at: since };
    try {
      const result = await (native ? runNative(asked, { signal: stop.signal, rowsMax: limit, id: queryId }) : runSql(asked, { signal: stop.signal, rowsMax: limit, onProgress, id: queryId, context: { sqlOuterLimit: limit } }));
      if (running.current[id] !== stop) return;
      const answered = { is: "rows" as const, result, text: asked, native, limit };
      settle(id, { ...answered, run: null });
      setDesk((before) => ({ ...before, past: remember(before.past, { ...past, tookMs: result.elapsedMs, rows: result.rows.length }) }));
      const state = await runState(queryId);
      if (running.current[id] !== stop || state === null) return;
      ran.current[id] = { text: asked, run: state };
      settle(id, { ...answered, run: state });
    } catch (thrown) {
      if (running.current[id] !== stop) return;
      const error = asApiError(thrown);
      settle(id, { is: "failed", error, part: selected !== null });
      if (error.kind !== "cancelled") setDesk((before) => ({ ...before, past: remember(before.past, { ...past, tookMs: null, rows: null }) }));
    }
  };

  const explainIt = async (): Promise<void> => {
    if (language === "json" || text.trim() === "") return;
    running.current[id]?.abort();
    const stop = new AbortController();
    running.current[id] = stop;
    settle(id, { is: "running", since: Date.now(), progress: { rows: 0, bytes: 0 }, stop, queryId: null });
    try {
      const plan = await explain(text, {}, stop.signal);
      if (running.current[id] !== stop) return;
      const last = ran.current[id];
      settle(id, { is: "plan", plan, run: last?.text === text ? last.run : null });
    } catch (thrown) {
      if (running.current[id] !== stop) return;
      settle(id, { is: "failed", error: asApiError(thrown), part: false });
    }
  };

  const problem = useMemo<Problem | null>(() => {
    if (outcome?.is !== "failed") return null;
    return { message: outcome.error.message, place: outcome.part ? null : outcome.error.place };
  }, [outcome]);

  return (
    <div className="page full">
      <h1 className="visually-hidden">Query</h1>
      <div className={showTables ? "workbench with-schema" : "workbench"} onKeyDown={(event) => event.key === "Escape" && setShowTables(false)}>
        <Schema tables={known.data?.tables ?? null} error={known.error} retry={known.refresh} onUse={(statement) => {
          setShowTables(false);
          setDesk((before) => (text.trim() === "" ? { ...before, sheets: before.sheets.map((one) => (one.id === id ? { ...one, text: statement } : one)) } : add(before, statement)));
        }} />
        <div className="bench">
          <section
            className="panel column bench-top"
            aria-label="Statement"
            onKeyDown={(event) => {
              if (!keeps || event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
              event.preventDefault();
              void saveIt();
            }}
          >
            <div className="sheet-tabs" role="group" aria-label="Sheets">
              <button type="button" className="bare tables-button" aria-expanded={showTables} onClick={() => setShowTables(!showTables)}>
                <Icon name="datasources" size={15} /> Tables
              </button>
              {desk.sheets.map((one) => (
                <span key={one.id} className={one.id === id ? "sheet-tab on" : "sheet-tab"}>
                  <button type="button" aria-pressed={one.id === id} onClick={() => setDesk({ ...desk, open: one.id })} onDoubleClick={() => {
                    const title = window.prompt("Name of this sheet", one.title)?.trim();
                    if (title !== undefined && title !== "") setDesk({ ...desk, sheets: desk.sheets.map((each) => (each.id === one.id ? { ...each, title: title.slice(0, 60) } : each)) });
                  }}>
                    <Name>{one.title}</Name>
                    {unsaved(one) && <span className="unsaved" role="img" aria-label="not saved" />}
                  </button>
                  <button type="button" aria-label={`Close ${one.title}`} onClick={() => {
                    running.current[one.id]?.abort();
                    setDesk(close(desk, one.id));
                  }}>
                    <Icon name="close" size={12} />
                  </button>
                </span>
              ))}
              <button type="button" className="bare" aria-label="New sheet" title="New sheet" onClick={() => setDesk(add(desk, ""))}>
                <Icon name="add" size={15} />
              </button>
            </div>
            <div className="editor-room">
              <Suspense fallback={<Loading what="Opening the editor" />}>
                <Editor key={id} value={text} onChange={write} language={language} label="Statement" vocabulary={known.data} problem={problem} onRun={(selected) => void run(selected)} placeholder="SELECT … or a native query as JSON. Ctrl+Enter runs it." />
              </Suspense>
            </div>
            <div className="toolbar">
              {outcome?.is === "running" ? (
                <button type="button" onClick={() => outcome.stop.abort()}>
                  <Icon name="stop" size={15} /> Cancel
                </button>
              ) : (
                <button type="button" className="primary" disabled={text.trim() === ""} onClick={() => void run(null)} title="Ctrl+Enter; with a selection, what is selected">
                  <Icon name="run" size={15} /> Run
                </button>
              )}
              <button type="button" disabled={language === "json" || text.trim() === ""} onClick={() => void explainIt()}>
                <Icon name="tree" size={15} /> Explain
              </button>
              <label className="row">
                <span className="muted">Rows at most</span>
                <select value={limit} onChange={(event) => setLimit(Number(event.target.value))}>
                  {LIMITS.map((one) => (
                    <option key={one} value={one}>
                      {count(one)}
                    </option>
                  ))}
                </select>
              </label>
              <span className="told">{language === "json" ? "native query" : "SQL"}</span>
              <span className="spread row">
                {keeps && (
                  <>
                    <button type="button" disabled={text.trim() === "" || (sheet?.kept !== undefined && !unsaved(sheet))} title="Ctrl+S" onClick={() => void saveIt()}>
                      <Icon name="save" size={15} /> {sheet?.kept === undefined || sheet.kept.mayEdit ? "Save" : "Save as"}
                    </button>
                    <button type="button" onClick={() => setDialog("saved")}>
                      <Icon name="open" size={15} /> Saved
                    </button>
                  </>
                )}
                <button type="button" onClick={() => setShowPast(true)}>
                  <Icon name="clock" size={15} /> History
                </button>
              </span>
            </div>
          </section>
          <section className="panel column" aria-label="Result">
            {notSaved !== null && (
              <div className="inside-notice">
                <Failed error={notSaved} retry={() => setNotSaved(null)} />
              </div>
            )}
            <Below outcome={outcome} needsUser={who.authenticated} keeps={keeps} />
          </section>
        </div>
      </div>
      {dialog === "saved" && <SavedQueries onOpen={opened} onChanged={(document) => changed(document, false)} onClose={() => setDialog(null)} />}
      {dialog === "save" && sheet !== undefined && (
        <KeepDialog
          title="Save this query"
          words={{ name: /^Query \d+$/.test(sheet.title) ? "" : sheet.kept === undefined ? sheet.title : `${sheet.title} (copy)`, description: null, sharedWith: [] }}
          action="Save it"
          onClose={() => setDialog(null)}
          onKeep={async (words) => {
            const made = await savedQueries.make({ ...words, content: content() });
            setDesk((before) => ({ ...before, sheets: before.sheets.map((one) => (one.id === sheet.id ? { ...one, title: made.name, kept: asKept(made) } : one)) }));
          }}
        />
      )}
      {clash !== null && <ClashDialog shelf={savedQueries} clash={clash} what="query" onClose={() => setClash(null)} onDone={(document) => changed(document, true)} />}
      {showPast && <History desk={desk} onClose={() => setShowPast(false)} onUse={(chosen) => { setDesk(add(desk, chosen)); setShowPast(false); }} onClear={() => setDesk({ ...desk, past: [] })} />}
    </div>
  );
}

function Below({ outcome, needsUser, keeps }: { outcome: Outcome | undefined; needsUser: boolean; keeps: boolean }): ReactNode {
  if (outcome === undefined) return <Empty title="Nothing has been run yet">Write a statement above and press Ctrl+Enter, or start from a table.</Empty>;
  if (outcome.is === "running") return <Running since={outcome.since} progress={outcome.progress} queryId={outcome.queryId} />;
  if (outcome.is === "plan") return <PlanTree plan={outcome.plan} run={outcome.run} />;
  if (outcome.is === "failed") {
    return outcome.error.kind === "cancelled" ? (
      <Empty title="Cancelled">{outcome.error.message}</Empty>
    ) : (
      <div className="chart">
        <Failed error={outcome.error} />
      </div>
    );
  }
  return <Results key={outcome.result.queryId} result={outcome.result} text={outcome.text} native={outcome.native} context={{}} limit={outcome.limit} needsUser={needsUser} run={outcome.run} keeps={keeps} />;
}

/** The identifier that a native query gives itself. */
function ownId(text: string): string | null {
  try {
    const said = (JSON.parse(text) as { context?: { queryId?: unknown } }).context?.queryId;
    return typeof said === "string" ? said : null;
  } catch {
    return null;
  }
}

function Schema({ tables: all, error, retry, onUse }: { tables: Table[] | null; error: ApiError | null; retry: () => void; onUse: (statement: string) => void }): ReactNode {
  const [wanted, setWanted] = useState("");
  const text = wanted.trim().toLowerCase();
  const shown = (all ?? []).filter((table) => text === "" || table.name.toLowerCase().includes(text) || table.columns.some((column) => column.name.toLowerCase().includes(text)));
  const groups: [string, string][] = [["druid", "Datasources"], ["lookup", "Lookups"], ["sys", "System"], ["INFORMATION_SCHEMA", "Schema"]];
  const full = (table: Table): string => (table.schema === "druid" ? quoted(table.name) : `${table.schema}.${quoted(table.name)}`);
  return (
    <aside className="panel schema" aria-label="What there is to ask about">
      <Filter value={wanted} onChange={setWanted} label="Tables and columns" />
      <div className="inside">
        {error !== null && <Failed error={error} retry={retry} />}
        {all === null && error === null && <Loading />}
        {groups.map(([schema, title]) => {
          const members = shown.filter((table) => table.schema === schema);
          if (members.length === 0) return null;
          return (
            <div key={schema}>
              <h3>{title}</h3>
              {members.map((table) => (
                <details key={table.name} open={text !== "" ? true : undefined}>
                  <summary>
                    <Icon name="right" size={12} />
                    <Name>{table.name}</Name>
                  </summary>
                  <ul>
                    <li>
                      <button type="button" onClick={() => onUse(`SELECT *\nFROM ${full(table)}${table.columns[0]?.name === "__time" ? "\nWHERE __time >= CURRENT_TIMESTAMP - INTERVAL '1' HOUR" : ""}\nLIMIT 100`)}>
                        <em className="muted">Show rows</em>
                      </button>
                    </li>
                    {table.columns.slice(0, 500).map((column) => (
                      <li key={column.name}>
                        <button
                          type="button"
                          title={`Most frequent values of ${column.name}`}
                          onClick={() =>
                            onUse(
                              column.type === "TIMESTAMP"
                                ? `SELECT TIME_FLOOR(${quoted(column.name)}, 'PT1M') AS "minute", COUNT(*) AS "rows"\nFROM ${full(table)}\nGROUP BY 1\nORDER BY 1`
                                : `SELECT ${quoted(column.name)}, COUNT(*) AS "rows"\nFROM ${full(table)}\nGROUP BY 1\nORDER BY 2 DESC\nLIMIT 100`,
                            )
                          }
                        >
                          <Name>{column.name}</Name>
                          <small>{column.type.toLowerCase()}</small>
                        </button>
                      </li>
                    ))}
                    {table.columns.length > 500 && <li className="muted">{plural(table.columns.length - 500, "more column")}</li>}
                  </ul>
                </details>
              ))}
            </div>
          );
        })}
      </div>
    </aside>
  );
}

function History({ desk, onClose, onUse, onClear }: { desk: Desk; onClose: () => void; onUse: (text: string) => void; onClear: () => void }): ReactNode {
  const [wanted, setWanted] = useState("");
  const now = useNow(30_000);
  const shown = desk.past.filter((one) => one.text.toLowerCase().includes(wanted.trim().toLowerCase()));
  return (
    <Dialog title="What you ran before" kind="side" onClose={onClose}>
      <div className="row">
        <Filter value={wanted} onChange={setWanted} label="Find a statement" />
        <span className="grow" />
        <Drop label="More">
          <Menu.Item className="grave-item" onSelect={onClear}>
            Forget all of it
          </Menu.Item>
        </Drop>
      </div>
      {shown.length === 0 ? (
        <Empty title="Nothing yet">Statements are kept in this browser only, without their results.</Empty>
      ) : (
        <ul className="history">
          {shown.map((one) => (
            <li key={`${one.at}`}>
              <pre>{one.text}</pre>
              <div className="row muted">
                <Instant at={one.at} relative={now} />
                <span>{one.tookMs === null ? "failed" : `${plural(one.rows ?? 0, "row")} in ${duration(one.tookMs)}`}</span>
                <span className="grow" />
                <button type="button" className="link" onClick={() => onUse(one.text)}>
                  Open
                </button>
              </div>
            </li>
          ))}
        </ul>
      )}
    </Dialog>
  );
}
