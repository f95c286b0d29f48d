// How long a datasource is kept: its rules as a list that is read from the top and as JSON, which are the same; what would follow of
// them for what is stored now; and what they were before.

import { lazy, Suspense, useMemo, useState, type ReactNode } from "react";
import { ruleHistory, setRules, storedSpans, type Rule } from "../api/cluster";
import { maySeeSegments } from "../api/session";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { bytes, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Loading, Shown } from "../parts/state";
import { Instant } from "../parts/text";
import { useSession } from "../session";
import { consequences, kindOf, matches, ruleText, scopesOf, withKind, type Consequences, type Effect, type Scope, type Sum } from "./rules";
import "../styles/rules.css";

const Editor = lazy(() => import("../parts/editor"));

export const CLUSTER = "_default";

const EFFECTS: [Effect, string][] = [["load", "keep"], ["drop", "drop"], ["broadcast", "keep on every node"]];
const SCOPES: Record<Scope, string> = { forever: "for ever", period: "the last", before: "older than", interval: "within" };
const PERIODS: [string, string][] = [["P1D", "a day"], ["P7D", "a week"], ["P30D", "30 days"], ["P3M", "three months"], ["P1Y", "a year"], ["P3Y", "three years"]];
const START: Rule[] = [{ type: "loadByPeriod", period: "P30D", includeFuture: true, tieredReplicants: { _default_tier: 1 } }, { type: "dropForever" }];

interface RetentionProps {
  /** A datasource, or the cluster. */
  name: string;
  all: Record<string, Rule[]>;
  onClose: () => void;
  onDone: () => void;
}

export function Retention({ name, all, onClose, onDone }: RetentionProps): ReactNode {
  const { who } = useSession();
  const cluster = name === CLUSTER;
  const now = all[name] ?? [];
  const [text, setText] = useState(() => JSON.stringify(now, null, 2));
  const [raw, setRaw] = useState(false);
  const [question, setQuestion] = useState<Question | null>(null);
  const stored = useLive((signal) => (maySeeSegments(who) ? storedSpans(cluster ? null : name, signal) : Promise.resolve(null)), [name]);
  const [instant] = useState(Date.now);
  const list = useMemo((): Rule[] | null => {
    try {
      const read = JSON.parse(text) as unknown;
      return Array.isArray(read) && read.every((one) => typeof (one as Rule | null)?.type === "string") ? (read as Rule[]) : null;
    } catch {
      return null;
    }
  }, [text]);
  const set = (next: Rule[]): void => setText(JSON.stringify(next, null, 2));
  const foreseen = useMemo(
    () => (list === null || !Array.isArray(stored.data) ? null : consequences(stored.data, list, instant, (one) => (cluster ? (all[one] ?? []) : []), () => (cluster ? [] : (all[CLUSTER] ?? [])))),
    [list, stored.data, instant],
  );
  const changed = list !== null && JSON.stringify(list) !== JSON.stringify(now);
  const subject = cluster ? "everything without rules of its own" : name;
  const ask = (): void => {
    if (list === null) return;
    const leaves = foreseen?.leaves.segments ?? 0;
    setQuestion({
      title: list.length === 0 ? `Keep ${name} as the cluster's rules say?` : `Put these rules for ${cluster ? "the cluster" : name} in force?`,
      consequence: foreseen === null ? "What is stored cannot be seen from here, so it cannot be said what follows. Rows that a drop rule matches leave all answers within a minute." : <Foreseen of={foreseen} />,
      action: leaves > 0 ? "Let them go" : "Put them in force",
      grave: leaves > 0 || foreseen === null,
      type: leaves > 0 ? name : undefined,
      act: () => setRules(name, list, "console"),
    });
  };
  return (
    <Dialog
      kind="side"
      wide
      title={cluster ? "How long everything is kept that has no rules of its own" : <>How long <bdi>{name}</bdi> is kept</>}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Keep it as it is
          </button>
          <button type="button" className="primary" disabled={list === null || !changed || (cluster && list.length === 0)} onClick={ask}>
            {list?.length === 0 && !cluster ? "Go by the cluster's rules…" : "Set these rules…"}
          </button>
        </>
      }
    >
      <p className="muted">
        Read from the top: the first rule that matches the time of a segment decides. {cluster ? "Each datasource's own rules are read before these." : "What none of them matches goes by the rules of the cluster."}
      </p>
      {list === null ? (
        <p className="wrong">This is not a list of rules in JSON.</p>
      ) : list.length === 0 ? (
        <div className="state">
          <strong>{cluster ? "No rules" : "No rules of its own"}</strong>
          <div className="muted">{cluster ? "Without any, nothing would be loaded." : `It goes by the cluster's: ${(all[CLUSTER] ?? []).map(ruleText).join("; ") || "none"}.`}</div>
          <button type="button" onClick={() => set(START)}>
            <Icon name="add" size={14} /> Give it rules
          </button>
        </div>
      ) : (
        <ol className="rules">
          {list.map((rule, at) => (
            <li key={at}>
              <RuleLine rule={rule} at={at} many={list.length} now={instant} matched={foreseen?.byRule[at] ?? null} set={(next) => set(next === null ? list.filter((_, place) => place !== at) : list.map((one, place) => (place === at ? next : one)))} move={(by) => set(moved(list, at, at + by))} />
            </li>
          ))}
        </ol>
      )}
      {list !== null && list.length > 0 && (
        <div className="row">
          <button type="button" onClick={() => set([...list, { type: "dropForever" }])}>
            <Icon name="add" size={14} /> Rule
          </button>
          {!cluster && (
            <button type="button" className="link" onClick={() => set([])}>
              Take all of them away
            </button>
          )}
        </div>
      )}
      {list !== null && foreseen !== null && <Foreseen of={foreseen} />}
      {list !== null && stored.data === null && stored.error === null && !stored.loading && <p className="muted">What would follow is told to those who may see the table of segments.</p>}
      {list !== null && stored.loading && <Loading what={`Looking at what is stored of ${subject}`} />}
      <details open={raw} onToggle={(event) => setRaw(event.currentTarget.open)}>
        <summary>As JSON</summary>
        {raw && (
          <div className="boxed-editor">
            <Suspense fallback={<Loading />}>
              <Editor value={text} onChange={setText} language="json" label="Rules" />
            </Suspense>
          </div>
        )}
      </details>
      <Past name={name} onUse={set} />
      {question !== null && (
        <Confirm
          question={question}
          onClose={() => setQuestion(null)}
          onDone={() => {
            onDone();
            onClose();
          }}
        />
      )}
    </Dialog>
  );
}

function moved(list: Rule[], from: number, to: number): Rule[] {
  const next = [...list];
  const [one] = next.splice(from, 1);
  if (one !== undefined) next.splice(to, 0, one);
  return next;
}

function RuleLine({ rule, at, many, now, matched, set, move }: { rule: Rule; at: number; many: number; now: number; matched: Sum | null; set: (next: Rule | null) => void; move: (by: number) => void }): ReactNode {
  const kind = kindOf(rule);
  const of = ` of rule ${at + 1}`;
  const tiers = Object.entries(rule.tieredReplicants ?? {});
  const readable = kind === null || matches(rule, { from: 0, to: 1 }, now) !== null;
  return (
    <div className="rule">
      <span className="figures muted">{at + 1}</span>
      <div className="rule-fields">
        {kind === null ? (
          <span className="mono">{ruleText(rule)}</span>
        ) : (
          <>
            <select aria-label={`Effect${of}`} value={kind.effect} onChange={(event) => set(withKind(rule, event.target.value as Effect, kind.scope))}>
              {EFFECTS.map(([key, words]) => (
                <option key={key} value={key}>
                  {words}
                </option>
              ))}
            </select>
            <select aria-label={`Time${of}`} value={kind.scope} onChange={(event) => set(withKind(rule, kind.effect, event.target.value as Scope))}>
              {scopesOf(kind.effect).map((one) => (
                <option key={one} value={one}>
                  {SCOPES[one]}
                </option>
              ))}
            </select>
            {(kind.scope === "period" || kind.scope === "before") && (
              <>
                <input aria-label={`Period${of}`} className={readable ? "period" : "period invalid"} aria-invalid={!readable} list="periods" value={rule.period ?? ""} spellCheck={false} onChange={(event) => set({ ...rule, period: event.target.value })} />
                <datalist id="periods">
                  {PERIODS.map(([key, words]) => (
                    <option key={key} value={key}>
                      {words}
                    </option>
                  ))}
                </datalist>
                <span className="muted">{PERIODS.find(([key]) => key === rule.period)?.[1] ?? (readable ? "" : "write for example P30D or PT12H")}</span>
              </>
            )}
            {kind.scope === "interval" && <input aria-label={`Interval${of}`} className={readable ? "interval" : "interval invalid"} aria-invalid={!readable} value={rule.interval ?? ""} placeholder="2026-01-01/2027-01-01" spellCheck={false} onChange={(event) => set({ ...rule, interval: event.target.value })} />}
            {kind.scope === "period" && (
              <label className="check">
                <input type="checkbox" checked={rule.includeFuture ?? true} onChange={(event) => set({ ...rule, includeFuture: event.target.checked })} />
                and what is to come
              </label>
            )}
            {kind.effect === "load" &&
              tiers.map(([tier, copies]) => (
                <label key={tier} className="row copies">
                  <input
                    type="number"
                    min={0}
                    max={1000}
                    aria-label={`Copies in ${tier}${of}`}
                    value={copies}
                    onChange={(event) => set({ ...rule, tieredReplicants: { ...rule.tieredReplicants, [tier]: Math.max(0, Math.round(Number(event.target.value) || 0)) } })}
                  />
                  {copies === 1 ? "copy" : "copies"} in <bdi>{tier === "_default_tier" ? "the default tier" : tier}</bdi>
                </label>
              ))}
          </>
        )}
        {matched !== null && <span className="rule-told muted figures">{matched.segments === 0 ? "matches nothing that is stored" : `${plural(matched.segments, "segment")}, ${plural(matched.rows, "row")}, ${bytes(matched.size)}`}</span>}
      </div>
      <span className="row rule-moves">
        <button type="button" className="bare" aria-label={`Read rule ${at + 1} earlier`} disabled={at === 0} onClick={() => move(-1)}>
          ↑
        </button>
        <button type="button" className="bare" aria-label={`Read rule ${at + 1} later`} disabled={at === many - 1} onClick={() => move(1)}>
          ↓
        </button>
        <button type="button" className="bare" aria-label={`Take rule ${at + 1} away`} onClick={() => set(null)}>
          <Icon name="close" size={14} />
        </button>
      </span>
    </div>
  );
}

function Foreseen({ of }: { of: Consequences }): ReactNode {
  const told = (sum: Sum): ReactNode => (
    <>
      {plural(sum.rows, "row")} in {plural(sum.segments, "segment")} ({bytes(sum.size)}), from <Instant at={sum.from} /> to <Instant at={sum.to} />
    </>
  );
  return (
    <div className="foreseen" role="status">
      {of.leaves.segments > 0 && (
        <div className="notice bad">
          <Icon name="warn" />
          <div>
            <strong>Leaves all answers:</strong> {told(of.leaves)}. It happens at the coordinator's next cycle, within a minute. The files are kept for a while, and the segments can be used again as long as they are and the rules let them.
          </div>
        </div>
      )}
      {of.nowhere.segments > 0 && (
        <div className="notice warn">
          <Icon name="warn" />
          <div>
            <strong>Is kept, but loaded on no node,</strong> so that no answer has it: {told(of.nowhere)}.
          </div>
        </div>
      )}
      {of.unknown > 0 && (
        <div className="notice warn">
          <Icon name="warn" />
          <div>
            <strong>{plural(of.unknown, "segment")}</strong> of which nothing can be told: a rule before them is not one that this page can read.
          </div>
        </div>
      )}
      {of.leaves.segments === 0 && of.unknown === 0 && (
        <div className="notice good">
          <Icon name="check" />
          <div>
            <strong>{of.stays.segments + of.nowhere.segments === 0 ? "Nothing is stored yet." : "Nothing that is stored leaves."}</strong>
            {of.stays.segments > 0 && <> {told(of.stays)} stay.</>}
          </div>
        </div>
      )}
    </div>
  );
}

/** What the rules were, by whom and since when. */
function Past({ name, onUse }: { name: string; onUse: (rules: Rule[]) => void }): ReactNode {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>What they were before</summary>
      {open && <PastRules name={name} onUse={onUse} />}
    </details>
  );
}

function PastRules({ name, onUse }: { name: string; onUse: (rules: Rule[]) => void }): ReactNode {
  const live = useLive((signal) => ruleHistory(name, signal), [name]);
  return (
    <Shown live={live}>
      {(all) =>
        all.length === 0 ? (
          <p className="muted">They have not been changed.</p>
        ) : (
          <ul className="history">
            {all.map((one, at) => (
              <li key={at}>
                <div className="row">
                  <Instant at={one.time} />
                  <span className="muted">
                    by <bdi>{one.author}</bdi>
                  </span>
                  <span className="grow" />
                  <button type="button" className="link" onClick={() => onUse(one.rules)}>
                    Take these
                  </button>
                </div>
                <span>{one.rules.map(ruleText).join("; ") || "none of its own"}</span>
              </li>
            ))}
          </ul>
        )
      }
    </Shown>
  );
}
