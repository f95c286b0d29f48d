// Home: how the store stands at a glance, with the one thing that needs attention on top. Each figure is shown to who may ask
// for it; who may not sees what there is to ask about.

import { useEffect, useRef, useState, type ReactNode } from "react";
import type { Alert } from "../api/alerts";
import { datasourceNames, datasources, healthy, metrics, timeBoundary, total, type Datasource, type Sample } from "../api/cluster";
import { supervisors, supervisorStats, supervisorStatus, tasks, type Supervisor, type SupervisorStatus, type Task } from "../api/ingestion";
import { mayAny, maySeeSegments } from "../api/session";
import { dashboards } from "../api/shelf";
import { bytes, count, duration, plural, short } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive, useNow } from "../parts/live";
import { Plain } from "../parts/plain";
import { Spark } from "../parts/spark";
import { Empty, Shown, Failed } from "../parts/state";
import { Badge, Instant, Name, toneOf } from "../parts/text";
import { Link } from "../router";
import { useSession } from "../session";
import { Head } from "../shell";
import { useSettings } from "../settings";
import { useWatch } from "../watch";
import { wanting } from "./alerting";
import { mostUrgent, type Facts } from "./attention";
import { metricRows, ratesOf, type Rates } from "./rates";

interface Standing {
  ready: boolean;
  names: string[];
  stored: Datasource[];
  supervisors: Supervisor[];
  statuses: Record<string, SupervisorStatus>;
  /** Events a second, by supervisor. */
  unparseable: Record<string, number>;
  tasks: Task[];
}

async function standing(sees: { state: boolean; tables: boolean; ingestion: boolean }, signal: AbortSignal): Promise<Standing> {
  const [ready, names, stored, running, all] = await Promise.all([
    healthy(signal),
    datasourceNames(signal),
    sees.tables ? datasources(signal) : [],
    sees.ingestion ? supervisors(signal) : [],
    sees.ingestion ? tasks(signal) : [],
  ]);
  const statuses = await Promise.all(
    running.slice(0, 40).map(async (one) => [one.id, await supervisorStatus(one.id, signal).catch(() => null)] as const),
  );
  const rates = await Promise.all(running.slice(0, 40).map(async (one) => [one.id, await supervisorStats(one.id, signal).catch(() => null)] as const));
  return {
    ready,
    names,
    stored,
    supervisors: running,
    statuses: Object.fromEntries(statuses.flatMap(([id, status]) => (status === null ? [] : [[id, status]]))),
    unparseable: Object.fromEntries(rates.map(([id, rate]) => [id, rate?.perSecond.unparseable ?? 0])),
    tasks: all,
  };
}

function factsOf(now: Standing, alerts: Alert[]): Facts {
  return {
    ready: now.ready,
    short: now.stored.reduce((sum, one) => sum + one.short, 0),
    unavailable: now.stored.reduce((sum, one) => sum + one.segments - one.available, 0),
    supervisors: now.supervisors.map((one) => ({
      id: one.id,
      healthy: one.healthy,
      suspended: one.suspended,
      state: one.detailedState,
      lag: now.statuses[one.id]?.aggregateLag ?? 0,
      // Averages never quite end; less than one in a hundred seconds is over.
      unparseable: (now.unparseable[one.id] ?? 0) < 0.01 ? 0 : (now.unparseable[one.id] ?? 0),
      error: now.statuses[one.id]?.recentErrors[0]?.message ?? null,
      waiting: now.statuses[one.id]?.waiting ?? null,
    })),
    failedTasks: now.tasks.filter((task) => task.statusCode === "FAILED" && Date.now() - Date.parse(task.createdTime) < 3_600_000).map((task) => task.id),
    datasources: now.names.length,
    alerts: wanting(alerts, Date.now()).map(({ name, severity, state, description }) => ({ name, severity, state, description: description === "" ? null : (description ?? null) })),
  };
}

export function Home(): ReactNode {
  const { who } = useSession();
  const sees = { state: mayAny(who, "STATE", "READ"), tables: maySeeSegments(who), ingestion: mayAny(who, "DATASOURCE", "WRITE") || mayAny(who, "SUPERVISOR", "READ") };
  const { alerts } = useWatch();
  const live = useLive((signal) => standing(sees, signal), [who.username], 15_000);
  return (
    <div className="page">
      <Head title="Home" about={live.at === null ? undefined : <Freshness at={live.at} />}>
        <Link to="/query" className="button primary">
          <Icon name="query" /> New query
        </Link>
      </Head>
      <Shown live={live} what="Looking around">
        {(now) => (
          <>
            <Attention facts={factsOf(now, alerts ?? [])} />
            <AtHand />
            {sees.state ? (
              <Figures>
                {(lag) => (
                  <>
                    {sees.ingestion && <Lag now={now} series={lag} />}
                    {sees.tables && <Availability now={now} />}
                  </>
                )}
              </Figures>
            ) : (
              <div className="tiles">
                {sees.ingestion && <Lag now={now} series={null} />}
                {sees.tables && <Availability now={now} />}
              </div>
            )}
            <div className="columns">
              <DatasourceList now={now} detailed={sees.tables} />
              {sees.ingestion && <SupervisorList now={now} />}
            </div>
          </>
        )}
      </Shown>
    </div>
  );
}

function Freshness({ at }: { at: number }): ReactNode {
  const now = useNow();
  return (
    <>
      As of <Instant at={at} relative={now} />
    </>
  );
}

function Attention({ facts }: { facts: Facts }): ReactNode {
  const { tone, title, about, to, more } = mostUrgent(facts);
  return (
    <section className={`attention ${tone}`} aria-label="What needs attention">
      <Icon name={tone === "good" ? "check" : "warn"} size={24} />
      <div className="grow">
        <strong>
          <bdi>{title}</bdi>
        </strong>
        <span className="muted">
          <bdi>{about}</bdi>
        </span>
        {more > 0 && <div className="muted">{plural(more, "more thing")} after this.</div>}
      </div>
      {to !== null && (
        <Link to={to.path} with={to.parameters} className="button">
          {to.label}
        </Link>
      )}
    </section>
  );
}

function Tile({ title, note, children, to }: { title: string; note?: ReactNode; children: ReactNode; to?: string }): ReactNode {
  const inside = (
    <>
      <span className="tile-title">{title}</span>
      {children}
      {note !== undefined && <span className="tile-note">{note}</span>}
    </>
  );
  return to === undefined ? (
    <div className="tile">{inside}</div>
  ) : (
    <Link to={to} className="tile">
      {inside}
    </Link>
  );
}

/** Dashboards that this person has marked. */
function AtHand(): ReactNode {
  const { starred } = useSettings();
  const { offers } = useWatch();
  const wants = starred.length > 0 && offers.dashboards === true;
  const live = useLive(async (signal) => (wants ? ((await dashboards.list(signal)) ?? []) : []), [wants, starred.join(" ")]);
  const shown = (live.data ?? []).filter((one) => starred.includes(one.id));
  if (shown.length === 0) return null;
  return (
    <nav className="row at-hand" aria-label="Dashboards close at hand">
      {shown.slice(0, 12).map((one) => (
        <Link key={one.id} to="/dashboards" with={{ id: one.id }} className="button">
          <Icon name="dashboards" size={15} /> <Name>{one.name}</Name>
        </Link>
      ))}
    </nav>
  );
}

function Lag({ now, series }: { now: Standing; series: number[] | null }): ReactNode {
  const lag = Object.values(now.statuses).reduce((sum, one) => sum + (one.aggregateLag ?? 0), 0);
  const reading = now.supervisors.filter((one) => !one.suspended).length;
  return (
    <Tile title="Ingestion lag" to="/ingestion" note={series === null ? `${plural(reading, "supervisor")} reading` : <Spark label="Events behind" values={series} />}>
      <span className="tile-figure">
        {short(lag)}
        <small>{lag === 1 ? "event" : "events"}</small>
      </span>
    </Tile>
  );
}

function Availability({ now }: { now: Standing }): ReactNode {
  const all = now.stored.reduce((sum, one) => sum + one.segments, 0);
  const there = now.stored.reduce((sum, one) => sum + one.available, 0);
  const share = all === 0 ? 100 : Math.floor((1000 * there) / all) / 10;
  const size = now.stored.reduce((sum, one) => sum + one.size, 0);
  const rows = now.stored.reduce((sum, one) => sum + one.rows, 0);
  return (
    <Tile title="Segments available" to="/segments" note={`${plural(rows, "row")}, ${size === 0 ? "none published yet" : `${bytes(size)} published`}`}>
      <span className="tile-figure">
        {share}%
        <small>
          {count(there)} of {count(all)}
        </small>
      </span>
    </Tile>
  );
}

interface Point {
  at: number;
  answered: number;
  failed: number;
  rows: number;
  seconds: number;
  queries: number;
}

const pointOf = (samples: Sample[]): Point => ({
  at: performance.now(),
  answered: total(samples, "henge_server_queries_total"),
  failed: total(samples, "henge_server_queries_total", { outcome: "failed" }),
  rows: total(samples, "henge_ingest_rows_processed_total"),
  seconds: total(samples, "henge_server_query_seconds_sum"),
  queries: total(samples, "henge_server_query_seconds_count"),
});

/** Of the whole cluster where it keeps its metrics, or else of this node. */
function Figures({ children }: { children: (lag: number[] | null) => ReactNode }): ReactNode {
  const live = useLive(async (signal) => {
    const rows = await metricRows(signal);
    return rows === null ? null : ratesOf(rows, Date.now());
  }, [], 15_000);
  const rates = live.data !== null && live.data.times.length >= 2 ? live.data : null;
  return (
    <div className="tiles">
      {children(rates === null ? null : rates.lag)}
      {rates === null ? <NodeFigures /> : <ClusterFigures rates={rates} />}
    </div>
  );
}

function ClusterFigures({ rates }: { rates: Rates }): ReactNode {
  const last = (values: number[]): number => values[values.length - 1] ?? 0;
  const latencies = rates.latency.map((one) => one ?? 0);
  const known = rates.latency.filter((one) => one !== null);
  // Rates are of seconds, and steps as long as the distance between two times.
  const failed = rates.failed.reduce((sum, rate, at) => sum + (rate * ((rates.times[at] ?? 0) - (rates.times[at - 1] ?? (rates.times[at] ?? 0) - 30_000))) / 1000, 0);
  const minutes = Math.max(1, Math.round(((rates.times.at(-1) ?? 0) - (rates.times[0] ?? 0)) / 60_000));
  return (
    <>
      <Tile title="Events read per second" note={<Spark label="Events per second" values={rates.rows} />}>
        <span className="tile-figure">{short(last(rates.rows))}</span>
      </Tile>
      <Tile title="Queries per second" note={<Spark label="Queries per second" values={rates.queries} />}>
        <span className="tile-figure">{short(Number(last(rates.queries).toPrecision(3)))}</span>
      </Tile>
      <Tile title="Mean time of a query" note={<Spark label="Mean time of a query" values={latencies} />}>
        <span className="tile-figure">{known.length === 0 ? "–" : duration(known[known.length - 1])}</span>
      </Tile>
      <Tile title="Queries that failed" note={<Spark label="Failed queries per second" values={rates.failed} />}>
        <span className="tile-figure">
          {count(Math.round(failed))}
          <small>in {plural(minutes, "minute")}</small>
        </span>
      </Tile>
    </>
  );
}

/** Rates of this node between two looks; the last five minutes are kept while the page is open. */
function NodeFigures(): ReactNode {
  const kept = useRef<Point[]>([]);
  const [points, setPoints] = useState<Point[]>([]);
  // A rate needs two looks; the second comes soon.
  const live = useLive(metrics, [], points.length < 2 ? 1500 : 5000);
  useEffect(() => {
    if (live.data === null) return;
    kept.current = [...kept.current, pointOf(live.data)].slice(-61);
    setPoints(kept.current);
  }, [live.data]);
  if (live.error !== null && live.data === null) return <Failed error={live.error} retry={live.refresh} />;
  const rates = points.slice(1).map((point, at) => {
    const before = points[at] ?? point;
    const seconds = Math.max(0.001, (point.at - before.at) / 1000);
    const queries = point.queries - before.queries;
    return {
      queries: Math.max(0, point.answered - before.answered) / seconds,
      failed: Math.max(0, point.failed - before.failed),
      rows: Math.max(0, point.rows - before.rows) / seconds,
      latency: queries > 0 ? ((point.seconds - before.seconds) * 1000) / queries : null,
    };
  });
  const last = rates.at(-1);
  const latencies = rates.flatMap((one) => (one.latency === null ? [] : [one.latency]));
  const failed = rates.reduce((sum, one) => sum + one.failed, 0);
  const resident = live.data === null ? null : total(live.data, "henge_server_resident_bytes");
  const uptime = live.data === null ? null : total(live.data, "henge_server_uptime_seconds") * 1000;
  return (
    <>
      <Tile title="Events read per second" note={<Spark label="Events per second" values={rates.map((one) => one.rows)} />}>
        <span className="tile-figure">{last === undefined ? "–" : short(last.rows)}</span>
      </Tile>
      <Tile title="Queries per second" note={<Spark label="Queries per second" values={rates.map((one) => one.queries)} />}>
        <span className="tile-figure">{last === undefined ? "–" : short(last.queries)}</span>
      </Tile>
      <Tile title="Mean time of a query" note={`on this node; ${failed === 0 ? "none" : count(failed)} failed of late`}>
        <span className="tile-figure">{latencies.length === 0 ? "–" : duration(latencies.at(-1))}</span>
      </Tile>
      <Tile title="Memory of this node" note={`up for ${duration(uptime)}`}>
        <span className="tile-figure">{bytes(resident)}</span>
      </Tile>
    </>
  );
}

function DatasourceList({ now, detailed }: { now: Standing; detailed: boolean }): ReactNode {
  const names = now.names.slice(0, 12);
  const newest = useLive(async (signal) => Object.fromEntries(await Promise.all(names.map(async (name) => [name, (await timeBoundary(name, "maxTime", signal).catch(() => null))?.maxTime ?? null] as const))), [names.join("\n")], 60_000);
  const stored = Object.fromEntries(now.stored.map((one) => [one.datasource, one]));
  return (
    <section className="panel" aria-label="Datasources">
      <header>
        <h2 className="grow">Datasources</h2>
        <Link to="/datasources">All {count(now.names.length)}</Link>
      </header>
      {now.names.length === 0 ? (
        <Empty title="No data yet">
          <Link to="/load">Load some from Kafka</Link>
        </Empty>
      ) : (
        <Plain heads={["Name", ...(detailed ? [{ figures: "Rows" }, { figures: "Published" }] : []), { figures: "Newest event" }]}>
          {names.map((name) => (
            <tr key={name}>
              <td>
                <Link to="/explore" with={{ source: name }}>
                  <Name>{name}</Name>
                </Link>
              </td>
              {detailed && <td className="number">{count(stored[name]?.rows)}</td>}
              {detailed && <td className="number">{bytes(stored[name]?.size)}</td>}
              <td className="number">
                {/* How late it was when it was asked for: the page's own waiting is no lateness of events. */}
                <Instant at={newest.data?.[name]} relative={newest.at ?? undefined} />
              </td>
            </tr>
          ))}
        </Plain>
      )}
    </section>
  );
}

function SupervisorList({ now }: { now: Standing }): ReactNode {
  return (
    <section className="panel" aria-label="Supervisors">
      <header>
        <h2 className="grow">Supervisors</h2>
        <Link to="/ingestion">All {count(now.supervisors.length)}</Link>
      </header>
      {now.supervisors.length === 0 ? (
        <Empty title="Nothing is read">
          <Link to="/load">Read a topic</Link>
        </Empty>
      ) : (
        <Plain heads={["Name", "State", { figures: "Lag" }, { figures: "Tasks" }]}>
          {now.supervisors.slice(0, 12).map((one) => (
            <tr key={one.id}>
              <td>
                <Link to="/ingestion" with={{ supervisor: one.id }}>
                  <Name>{one.id}</Name>
                </Link>
              </td>
              <td>
                <Badge tone={one.suspended ? "quiet" : toneOf(one.detailedState)}>{one.suspended ? "Suspended" : one.detailedState.toLowerCase().replaceAll("_", " ")}</Badge>
              </td>
              <td className="number">{count(now.statuses[one.id]?.aggregateLag)}</td>
              <td className="number">{count(now.statuses[one.id]?.activeTasks.length)}</td>
            </tr>
          ))}
        </Plain>
      )}
    </section>
  );
}
