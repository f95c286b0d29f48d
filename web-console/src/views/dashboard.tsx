// One dashboard: its panels on twelve columns, what they are asked for above them, and changing all of it. A change is the page's
// own until it is saved.

import * as Menu from "@radix-ui/react-dropdown-menu";
import { useEffect, useRef, useState, type KeyboardEvent, type PointerEvent, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { dashboards, type Kept } from "../api/shelf";
import { rowsOf } from "../api/sql";
import { Confirm, type Question } from "../parts/dialog";
import { keepFile } from "../parts/file";
import { instant } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Empty, Failed, Shown } from "../parts/state";
import { adjust, go, Link, usePlace } from "../router";
import { useSettings } from "../settings";
import { Head } from "../shell";
import { chosen, filled, KIND_TITLES, marksOf, newId, PANELS_MAX, periodMs, RANGES, readBoard, REFRESHES, windowOf, type Board, type Panel, type Range, type Variable } from "./board";
import { FiringOver } from "./firing";
import { ClashDialog, KeepDialog, putOr, type Clash, type Words } from "./keep";
import { joined, placed, settled, stepped } from "./layout";
import { PanelBody, type Asking } from "./panel";
import { PanelDialog, VariablesDialog, type PanelDraft } from "./panel-edit";
import { Drop } from "../parts/drop";
import { Star } from "./star";

export function DashboardPage({ id }: { id: string }): ReactNode {
  const live = useLive(async (signal) => {
    const kept = await dashboards.get(id, signal);
    return { kept, board: readBoard(kept.content) };
  }, [id]);
  return (
    <div className="page">
      <Shown live={live} what="Opening the dashboard">
        {({ kept, board }) => <Opened key={`${kept.id} ${kept.version}`} first={kept} board={board} reload={live.refresh} />}
      </Shown>
    </div>
  );
}

const wordsOf = ({ name, description, sharedWith }: Words): Words => ({ name, description, sharedWith });

function rangeOf(board: Board, parameters: URLSearchParams): Range {
  const last = parameters.get("last");
  if (last !== null && periodMs(last) !== null) return last;
  const from = Date.parse(parameters.get("from") ?? "");
  const to = Date.parse(parameters.get("to") ?? "");
  return from < to ? { from: new Date(from).toISOString(), to: new Date(to).toISOString() } : board.range;
}

function Opened({ first, board: atFirst, reload }: { first: Kept<unknown>; board: Board; reload: () => void }): ReactNode {
  const { parameters } = usePlace();
  const [kept, setKept] = useState(first);
  const [board, setBoard] = useState(atFirst);
  const [saved, setSaved] = useState(atFirst);
  const [editing, setEditing] = useState(parameters.get("edit") === "1" && first.mayEdit);
  const [panel, setPanel] = useState<{ id: string | null; draft: PanelDraft | null } | null>(null);
  const [asking, setAsking] = useState<"words" | "variables" | "copy" | null>(null);
  const [question, setQuestion] = useState<Question | null>(null);
  const [clash, setClash] = useState<Clash<unknown> | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [round, setRound] = useState(0);
  const [told, setTold] = useState("");
  const changed = board !== saved;

  useEffect(() => {
    if (parameters.get("edit") !== null) adjust({ edit: null }, "replace");
  }, []);
  useEffect(() => {
    if (!changed) return;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [changed]);

  const range = rangeOf(board, parameters);
  const variables = chosen(board.variables, parameters);
  const refresh = parameters.get("refresh") === null ? board.refreshSeconds : Number(parameters.get("refresh")) || null;
  // A stretch that stands still has nothing new in it.
  const everyMs = typeof range === "string" && refresh !== null ? refresh * 1000 : null;
  const shown: Asking = { range, variables, everyMs, round };
  const change = (next: Partial<Board>): void => setBoard((before) => ({ ...before, ...next }));
  const setPanels = (panels: Panel[]): void => change({ panels });

  const put = async (words: Words, content: Board): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const answer = await putOr(dashboards, kept.id, kept.version, { ...wordsOf(words), content });
      if ("clash" in answer) setClash(answer.clash);
      else {
        setKept(answer.kept);
        setSaved(content);
        setEditing(false);
      }
    } catch (thrown) {
      setError(asApiError(thrown));
    }
    setBusy(false);
  };

  return (
    <>
      <Head
        title={<bdi>{kept.name}</bdi>}
        about={
          <>
            {kept.description !== null && kept.description !== "" && (
              <>
                <bdi>{kept.description}</bdi> ·{" "}
              </>
            )}
            {kept.owner === null ? "nobody’s any more" : <bdi>{kept.owner}</bdi>}
            {kept.sharedWith.length === 0 ? " · shared with nobody" : ` · shared with ${kept.sharedWith.join(", ")}`}
          </>
        }
      >
        <Star id={kept.id} name={kept.name} />
        {editing ? (
          <>
            <button type="button" disabled={board.panels.length >= PANELS_MAX} onClick={() => setPanel({ id: null, draft: null })}>
              <Icon name="add" size={15} /> Panel
            </button>
            <button type="button" onClick={() => setAsking("variables")}>
              Variables
            </button>
            <button
              type="button"
              onClick={() => {
                setBoard(saved);
                setEditing(false);
              }}
            >
              {changed ? "Drop the changes" : "Done"}
            </button>
            <button type="button" className="primary" disabled={!changed || busy} onClick={() => void put(kept, board)}>
              {busy ? "Saving…" : "Save"}
            </button>
          </>
        ) : (
          <>
            {kept.mayEdit && (
              <button type="button" onClick={() => setEditing(true)}>
                <Icon name="edit" size={15} /> Edit
              </button>
            )}
            <Drop label="More">
              {kept.mayEdit && <Menu.Item onSelect={() => setAsking("words")}>Rename and share…</Menu.Item>}
              <Menu.Item onSelect={() => setAsking("copy")}>Make a copy…</Menu.Item>
              <Menu.Item onSelect={() => keepFile(`${kept.name}.json`, JSON.stringify({ name: kept.name, description: kept.description, content: saved }, null, 2))}>Export as JSON</Menu.Item>
              {kept.mayEdit && (
                <>
                  <Menu.Separator />
                  <Menu.Item
                    className="grave-item"
                    onSelect={() =>
                      setQuestion({
                        title: `Delete the dashboard ${kept.name}?`,
                        consequence: kept.sharedWith.length === 0 ? "It cannot be brought back; an export of it can be imported again." : `It is gone for everybody of ${kept.sharedWith.join(", ")} too, and cannot be brought back. An export of it can be imported again.`,
                        action: "Delete it",
                        grave: true,
                        act: () => dashboards.remove(kept.id, kept.version),
                      })
                    }
                  >
                    Delete…
                  </Menu.Item>
                </>
              )}
            </Drop>
          </>
        )}
      </Head>
      <Above board={board} range={range} refresh={refresh} variables={variables} editing={editing} onDefault={(next) => change(next)} onAgain={() => setRound(round + 1)} />
      {error !== null && <Failed error={error} />}
      <FiringOver statements={board.panels.map((one) => one.query)} what="what is shown here" />
      {board.panels.length === 0 ? (
        <Empty title="No panels yet">
          {kept.mayEdit ? (
            <button
              type="button"
              className="link"
              onClick={() => {
                setEditing(true);
                setPanel({ id: null, draft: null });
              }}
            >
              Add the first
            </button>
          ) : (
            "Who owns it has not added any."
          )}
        </Empty>
      ) : (
        <Panels panels={board.panels} asking={shown} editing={editing} onPlace={setPanels} onTell={setTold} onEdit={(one) => setPanel({ id: one.id, draft: one })} onRemove={(one) => setPanels(settled(board.panels.filter((each) => each.id !== one.id)))} />
      )}
      <p className="visually-hidden" role="status">
        {told}
      </p>
      {panel !== null && (
        <PanelDialog
          panel={panel.draft}
          asking={shown}
          variables={board.variables}
          onClose={() => setPanel(null)}
          onDone={(draft) => {
            const { title, kind, query, unit } = draft;
            const fields = { title, kind, query, unit };
            const size = kind === "number" ? { w: 3, h: 2 } : kind === "line" || kind === "table" ? { w: 8, h: 5 } : { w: 4, h: 5 };
            setPanels(panel.id === null ? joined(board.panels, { id: newId(board.panels), x: 0, y: 0, ...size, ...fields }) : board.panels.map((one) => (one.id === panel.id ? { ...one, ...fields } : one)));
            setPanel(null);
          }}
        />
      )}
      {asking === "variables" && (
        <VariablesDialog
          variables={board.variables}
          onClose={() => setAsking(null)}
          onDone={(next) => {
            change({ variables: next });
            setAsking(null);
          }}
        />
      )}
      {asking === "words" && <KeepDialog title="Rename and share" words={wordsOf(kept)} action="Save" onClose={() => setAsking(null)} onKeep={(words) => put(words, saved)} />}
      {asking === "copy" && (
        <KeepDialog
          title="Make a copy"
          words={{ name: `${kept.name} (copy)`, description: kept.description, sharedWith: [] }}
          action="Make it"
          onClose={() => setAsking(null)}
          onKeep={async (words) => {
            const made = await dashboards.make({ ...words, content: board });
            go("/dashboards", { id: made.id });
          }}
        />
      )}
      {clash !== null && (
        <ClashDialog
          shelf={dashboards}
          clash={clash}
          what="dashboard"
          onClose={() => setClash(null)}
          onDone={(now) => {
            setSaved(board);
            if (now.id === kept.id) reload();
            else go("/dashboards", { id: now.id });
          }}
        />
      )}
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={() => go("/dashboards")} />}
    </>
  );
}

/** Range, refreshing and variables: the address says what is chosen, the document what is at first. */
function Above({ board, range, refresh, variables, editing, onDefault, onAgain }: { board: Board; range: Range; refresh: number | null; variables: Record<string, string>; editing: boolean; onDefault: (change: Partial<Board>) => void; onAgain: () => void }): ReactNode {
  const { zone } = useSettings();
  const fixed = typeof range !== "string";
  const ranges: [string, string][] = fixed || RANGES.some(([period]) => period === range) ? RANGES : [...RANGES, [range, `Last ${range}`]];
  const [own, setOwn] = useState<{ from: string; to: string } | null>(null);
  const refreshes = REFRESHES.some(([seconds]) => seconds === refresh) ? REFRESHES : [...REFRESHES, [refresh, `Each ${refresh} s`] as [number, string]];
  const asText = (at: string): string => instant(at, zone).slice(0, 19);
  const take = (next: Range): void => {
    if (editing) onDefault({ range: next });
    adjust(editing ? { last: null, from: null, to: null } : typeof next === "string" ? { last: next === board.range ? null : next, from: null, to: null } : { last: null, from: next.from, to: next.to }, "replace");
  };
  const typed = own === null ? null : { from: parseTyped(own.from, zone), to: parseTyped(own.to, zone) };
  return (
    <div className="board-above" role="group" aria-label="What is shown">
      <label className="row">
        <span className="muted">Time</span>
        <select
          value={fixed || own !== null ? "own" : range}
          onChange={(event) => {
            if (event.target.value === "own") {
              const { from, to } = windowOf(range, Date.now());
              setOwn({ from: asText(new Date(from).toISOString()), to: asText(new Date(to).toISOString()) });
            } else {
              setOwn(null);
              take(event.target.value);
            }
          }}
        >
          {ranges.map(([period, title]) => (
            <option key={period} value={period}>
              {title}
            </option>
          ))}
          <option value="own">{fixed ? `${asText(range.from).slice(0, 16)} to ${asText(range.to).slice(0, 16)}` : "From … to …"}</option>
        </select>
      </label>
      {own !== null && typed !== null && (
        <form
          className="row"
          onSubmit={(event) => {
            event.preventDefault();
            if (typed.from === null || typed.to === null || typed.from >= typed.to) return;
            take({ from: new Date(typed.from).toISOString(), to: new Date(typed.to).toISOString() });
            setOwn(null);
          }}
        >
          <input aria-label="From" value={own.from} onChange={(event) => setOwn({ ...own, from: event.target.value })} size={19} spellCheck={false} />
          <span className="muted">to</span>
          <input aria-label="To" value={own.to} onChange={(event) => setOwn({ ...own, to: event.target.value })} size={19} spellCheck={false} />
          <span className="muted">{zone === "utc" ? "UTC" : "local time"}</span>
          <button type="submit" disabled={typed.from === null || typed.to === null || typed.from >= typed.to}>
            Show
          </button>
        </form>
      )}
      {board.variables.map((one) => (
        <Choice key={one.name} variable={one} value={variables[one.name] ?? ""} range={range} />
      ))}
      <span className="spread row">
        {typeof range === "string" && (
          <label className="row">
            <span className="muted">Refresh</span>
            <select
              value={refresh ?? ""}
              onChange={(event) => {
                const next = event.target.value === "" ? null : Number(event.target.value);
                if (editing) onDefault({ refreshSeconds: next });
                adjust({ refresh: editing || next === board.refreshSeconds ? null : String(next ?? 0) }, "replace");
              }}
            >
              {refreshes.map(([seconds, title]) => (
                <option key={seconds ?? ""} value={seconds ?? ""}>
                  {title}
                </option>
              ))}
            </select>
          </label>
        )}
        <button type="button" className="bare" aria-label="Ask again now" title="Ask again now" onClick={onAgain}>
          <Icon name="refresh" />
        </button>
      </span>
    </div>
  );
}

/** A typed time without a zone is of the zone that the page shows. */
function parseTyped(text: string, zone: "utc" | "local"): number | null {
  const plain = text.trim().replace(" ", "T");
  const ms = Date.parse(zone === "utc" && /^\d{4}-\d\d-\d\d(T[\d:.]+)?$/.test(plain) ? `${plain.includes("T") ? plain : `${plain}T00:00`}Z` : plain);
  return Number.isNaN(ms) ? null : ms;
}

const VALUES_MAX = 1000;

function Choice({ variable, value, range }: { variable: Variable; value: string; range: Range }): ReactNode {
  const live = useLive(
    async (signal) => {
      if (variable.query === null) return variable.values;
      // It may follow the stretch of time, but not other variables: one could wait for the other.
      const rows = await rowsOf<Record<string, unknown>>(filled(variable.query, windowOf(range, Date.now()), {}), signal, { sqlOuterLimit: VALUES_MAX, priority: -5 });
      return rows.map((row) => Object.values(row)[0]).filter((one) => one !== null && one !== undefined).map(String);
    },
    [variable.query, variable.values?.join("\u0000"), JSON.stringify(range)],
  );
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  const take = (next: string): void => adjust({ [`var-${variable.name}`]: next === variable.default ? null : next }, "replace");
  const label = variable.label ?? variable.name;
  const values = live.data;
  return (
    <label className="row">
      <span className="muted">
        <bdi>{label}</bdi>
      </span>
      {variable.values === null && variable.query === null ? (
        <input value={typed} size={14} onChange={(event) => setTyped(event.target.value)} onBlur={() => take(typed)} onKeyDown={(event) => (event.key === "Enter" ? take(typed) : undefined)} spellCheck={false} />
      ) : (
        <select value={value} onChange={(event) => take(event.target.value)}>
          {[...new Set([...(values?.includes(value) === true ? [] : [value]), ...(values ?? [])])].map((one) => (
            <option key={one} value={one}>
              {one === "" ? "(empty)" : one}
            </option>
          ))}
        </select>
      )}
      {live.error !== null && (
        <span className="wrong" role="alert" title={live.error.message}>
          its values cannot be asked
        </span>
      )}
    </label>
  );
}

const ROW = 56;
const GAP = 12;
const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] as const;

interface Drag {
  id: string;
  how: "move" | "size";
  x: number;
  y: number;
  panels: Panel[];
}

function Panels({ panels, asking, editing, onPlace, onTell, onEdit, onRemove }: { panels: Panel[]; asking: Asking; editing: boolean; onPlace: (panels: Panel[]) => void; onTell: (text: string) => void; onEdit: (panel: Panel) => void; onRemove: (panel: Panel) => void }): ReactNode {
  const grid = useRef<HTMLDivElement>(null);
  const drag = useRef<Drag | null>(null);
  const [moving, setMoving] = useState<string | null>(null);
  const tell = (list: Panel[], id: string): void => {
    const one = list.find((each) => each.id === id);
    if (one !== undefined) onTell(`${one.title === "" ? "Panel" : one.title}: column ${one.x + 1}, row ${one.y + 1}, ${one.w} wide, ${one.h} high`);
  };
  const begin = (event: PointerEvent<HTMLElement>, id: string, how: Drag["how"]): void => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    drag.current = { id, how, x: event.clientX, y: event.clientY, panels };
    setMoving(id);
  };
  const move = (event: PointerEvent<HTMLElement>): void => {
    const at = drag.current;
    const box = at?.panels.find((one) => one.id === at.id);
    if (at === null || box === undefined || grid.current === null) return;
    const dx = Math.round((event.clientX - at.x) / ((grid.current.clientWidth + GAP) / 12));
    const dy = Math.round((event.clientY - at.y) / (ROW + GAP));
    onPlace(placed(at.panels, at.id, at.how === "move" ? { x: box.x + dx, y: box.y + dy } : { w: Math.min(12 - box.x, box.w + dx), h: box.h + dy }));
  };
  const end = (): void => {
    if (drag.current !== null) tell(panels, drag.current.id);
    drag.current = null;
    setMoving(null);
  };
  const onKeyDown = (event: KeyboardEvent, id: string, size: boolean): void => {
    const key = KEYS.find((one) => one === event.key);
    if (key === undefined) return;
    event.preventDefault();
    const next = stepped(panels, id, key, size || event.shiftKey);
    onPlace(next);
    tell(next, id);
  };
  return (
    <div ref={grid} className={editing ? "board editing" : "board"}>
      {/* Read aloud and walked by the keyboard as they stand. */}
      {[...panels].sort((a, b) => a.y - b.y || a.x - b.x).map((one) => (
        <section
          key={one.id}
          className={`panel board-panel${one.kind === "number" ? " figure" : ""}${moving === one.id ? " moving" : ""}`}
          aria-label={one.title === "" ? KIND_TITLES[one.kind] : one.title}
          style={{ "--x": one.x + 1, "--y": one.y + 1, "--w": one.w, "--h": one.h } as React.CSSProperties}
        >
          <header>
            {editing && (
              <button
                type="button"
                className="bare grip"
                aria-label={`Move ${one.title}`}
                title="Drag, or use the arrow keys; with Shift they change its size"
                onPointerDown={(event) => begin(event, one.id, "move")}
                onPointerMove={move}
                onPointerUp={end}
                onPointerCancel={end}
                onKeyDown={(event) => onKeyDown(event, one.id, false)}
              >
                <Icon name="grip" size={16} />
              </button>
            )}
            <h2 className="grow" title={one.title}>
              <bdi>{one.title === "" ? KIND_TITLES[one.kind] : one.title}</bdi>
            </h2>
            {editing ? (
              <>
                <button type="button" className="bare" aria-label={`Change ${one.title}`} title="Change" onClick={() => onEdit(one)}>
                  <Icon name="edit" size={15} />
                </button>
                <button type="button" className="bare" aria-label={`Remove ${one.title}`} title="Remove" onClick={() => onRemove(one)}>
                  <Icon name="close" size={15} />
                </button>
              </>
            ) : (
              <AsQuery panel={one} asking={asking} />
            )}
          </header>
          <PanelBody panel={one} asking={asking} />
          {editing && (
            <button
              type="button"
              className="bare corner"
              aria-label={`Size of ${one.title}`}
              title="Drag, or use the arrow keys"
              onPointerDown={(event) => begin(event, one.id, "size")}
              onPointerMove={move}
              onPointerUp={end}
              onPointerCancel={end}
              onKeyDown={(event) => onKeyDown(event, one.id, true)}
            >
              <Icon name="corner" size={14} />
            </button>
          )}
        </section>
      ))}
    </div>
  );
}

function AsQuery({ panel, asking }: { panel: Panel; asking: Asking }): ReactNode {
  const known = new Set(["from", "to", "grain", ...Object.keys(asking.variables)]);
  // What cannot be filled in is opened as it stands.
  const text = marksOf(panel.query).every((one) => known.has(one.name)) ? filled(panel.query, windowOf(asking.range, Date.now()), asking.variables) : panel.query;
  return (
    <Link to="/query" with={{ q: text }} className="button bare" aria-label={`Open ${panel.title} as a query`} title="Open as a query">
      <Icon name="query" size={15} />
    </Link>
  );
}
