// How a statement is answered, as a tree that people read: what each step reads and makes and, of a run, where its time went.

import { type ReactNode } from "react";
import type { RunState } from "../api/progress";
import { explain, type Plan } from "../api/sql";
import { bytes, count, duration, plural } from "../parts/format";
import { useLive } from "../parts/live";
import { Plain } from "../parts/plain";
import { Failed, Loading } from "../parts/state";
import { Name } from "../parts/text";
import { KINDS, stepOf, timed, type Step, type Timed } from "./plan";

/** The course of a run. Of a statement its plan is asked for; if there is none, the steps stand alone. */
export function Course({ text, native, run }: { text: string; native: boolean; run: RunState }): ReactNode {
  const live = useLive(async (signal) => (native ? [JSON.parse(text) as Record<string, unknown>] : (await explain(text, {}, signal)).native.map((one) => one.query)), [text, native]);
  if (live.data === null && live.error === null) return <Loading what="Asking for the plan" />;
  return (
    <div className="chart">
      {live.error !== null && <Failed error={live.error} />}
      <TimedTree run={run} plan={(live.data ?? []).map(stepOf)} />
    </div>
  );
}

export function PlanTree({ plan, run }: { plan: Plan; run: RunState | null }): ReactNode {
  return (
    <div className="chart">
      <div className="row muted plan-about">
        Reads {plan.resources.map((one) => one.name).join(", ") || "nothing"} in {plural(plan.native.length, "native query", "native queries")}
        {plan.native.length > 1 && ", whose rows are put together where the statement was sent"}
      </div>
      {run === null || run.steps.length === 0 ? (
        <div className="plan-steps">
          {plan.native.map((one, at) => (
            <StepCard key={at} step={stepOf(one.query)} />
          ))}
        </div>
      ) : (
        <TimedTree run={run} plan={plan.native.map((one) => stepOf(one.query))} />
      )}
    </div>
  );
}

function TimedTree({ run, plan }: { run: RunState; plan: Step[] }): ReactNode {
  const { tree, left } = timed(run.steps, plan);
  const most = Math.max(1, run.elapsedMs, ...tree.map((one) => one.ms));
  return (
    <div className="plan-steps">
      <p className="muted">
        The last run took {duration(run.elapsedMs)}: {plural(run.rows, "row")} and {bytes(run.bytes)} read
        {run.segments !== null && ` of ${plural(run.segments.total, "segment")}`}.
      </p>
      {tree.map((one, at) => (
        <TimedCard key={at} one={one} most={most} />
      ))}
      {left.length > 0 && <p className="muted">Of these steps it is not told how long they took:</p>}
      {left.map((step, at) => (
        <StepCard key={at} step={{ ...step, inner: [] }} />
      ))}
    </div>
  );
}

function Bar({ ms, most }: { ms: number; most: number }): ReactNode {
  return (
    <span className="time-bar">
      <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
        <rect width={Math.max(0.5, Math.min(100, (100 * ms) / most))} height="10" rx="1" fill="var(--c1)" />
      </svg>
      <strong className="figures">{duration(ms)}</strong>
    </span>
  );
}

function TimedCard({ one, most }: { one: Timed; most: number }): ReactNode {
  return (
    <div className="step">
      <div className="step-card">
        <h3>
          {KINDS[one.name] ?? one.name}
          {one.name in KINDS && one.name !== "sql" && <span className="chip mono">{one.name}</span>}
          {one.table !== null && (
            <span className="chip">
              <Name>{one.table}</Name>
            </span>
          )}
          <span className="grow" />
          <Bar ms={one.ms} most={most} />
        </h3>
        <div className="muted figures">
          {/* A step that only puts others together reads no rows of its own. */}
          {(one.rows > 0 || one.inner.length === 0) && plural(one.rows, "row")}
          {one.segments !== null && ` of ${plural(one.segments, "segment")}`}
          {one.nodes.length > 1 && ` on ${plural(one.nodes.length, "node")}; the time is that of the slowest`}
        </div>
        {one.nodes.length > 0 && (
          <Plain className="nodes" heads={["Node", "Time", { figures: "Rows" }, { figures: "Segments" }]}>
            {[...one.nodes].sort((a, b) => b.ms - a.ms).map((node) => (
              <tr key={node.id}>
                <td>
                  <Name mono>{node.node ?? "here"}</Name>
                </td>
                <td>
                  <Bar ms={node.ms} most={most} />
                </td>
                <td className="number">{count(node.rows)}</td>
                <td className="number">{count(node.segments)}</td>
              </tr>
            ))}
          </Plain>
        )}
        {one.step !== null && <Facts step={one.step} />}
      </div>
      {one.inner.map((inner, at) => (
        <TimedCard key={at} one={inner} most={most} />
      ))}
    </div>
  );
}

function Facts({ step }: { step: Step }): ReactNode {
  return (
    <>
      <dl className="facts">
        {step.facts.map((fact) => (
          <div key={fact.name} style={{ display: "contents" }}>
            <dt>{fact.name}</dt>
            <dd className="mono">{fact.text}</dd>
          </div>
        ))}
      </dl>
      <details>
        <summary className="muted">The query as JSON</summary>
        <pre className="document">{JSON.stringify(step.query, null, 2)}</pre>
      </details>
    </>
  );
}

function StepCard({ step }: { step: Step }): ReactNode {
  return (
    <div className="step">
      <div className="step-card">
        <h3>
          {KINDS[step.kind] ?? step.kind} <span className="chip mono">{step.kind}</span>
          {step.reads.map((name) => (
            <span key={name} className="chip">
              <Name>{name}</Name>
            </span>
          ))}
        </h3>
        <Facts step={step} />
      </div>
      {step.inner.map((inner, at) => (
        <StepCard key={at} step={inner} />
      ))}
    </div>
  );
}
