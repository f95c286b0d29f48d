// Segments of a datasource: a picture of time with its versions, and the list below it.

import { useEffect, useMemo, useState, type ReactNode } from "react";
import { datasources, markUnused, segmentGroups, segments, segmentsTotal, type Segment, type SegmentsGroup, type SegmentsWanted } from "../api/cluster";
import { may } from "../api/session";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { bytes, count, instant, plural, zoneName } from "../parts/format";
import { useEdition, useLive, useSettled } from "../parts/live";
import { PAGE, Pager } from "../parts/pager";
import { Pick } from "../parts/pick";
import { useWidth } from "../parts/width";
import { Empty, Failed, Shown } from "../parts/state";
import { Filter, Table, type Sort, type TableColumn } from "../parts/table";
import { Instant, Name, type Tone } from "../parts/text";
import { adjust, usePlace } from "../router";
import { useSession } from "../session";
import { useSettings } from "../settings";
import { Head } from "../shell";
import { fateOf, layOut, ticksOf, type Block, type Fate } from "./timeline";
import "../styles/pages.css";

const FATES: Record<Fate, { text: string; tone: Tone; fill: string }> = {
  realtime: { text: "still filling", tone: "accent", fill: "var(--c3)" },
  served: { text: "served", tone: "good", fill: "var(--c1)" },
  short: { text: "too few copies", tone: "warn", fill: "var(--c2)" },
  missing: { text: "not available", tone: "bad", fill: "var(--c6)" },
  overshadowed: { text: "overshadowed", tone: "quiet", fill: "var(--line-strong)" },
  unused: { text: "out of use", tone: "quiet", fill: "var(--line)" },
};

/** The state in the colour that it has in the picture. */
function FateBadge({ of }: { of: Fate }): ReactNode {
  const { text, tone, fill } = FATES[of];
  return (
    <span className={`badge ${tone}`}>
      <Swatch fill={fill} />
      {text}
    </span>
  );
}

const Swatch = ({ fill }: { fill: string }): ReactNode => (
  <svg className="swatch" viewBox="0 0 12 12" aria-hidden="true">
    <rect width="12" height="12" fill={fill} />
  </svg>
);

/** Blocks of the picture; what is older is in the list alone. */
const BLOCKS = 4_000;

export default function Segments(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
  const [typed, setTyped] = useState("");
  const find = useSettled(typed, 300);
  const [sort, setSort] = useState<Sort | null>({ key: "start", down: true });
  const [open, setOpen] = useState<Segment | null>(null);
  const [question, setQuestion] = useState<Question | null>(null);
  const names = useLive((signal) => datasources(signal), [who.username], 60_000);
  const source = parameters.get("source") ?? names.data?.[0]?.datasource ?? null;
  const [from, to] = [parameters.get("from"), parameters.get("to")];
  const wanted: SegmentsWanted | null = source === null ? null : { datasource: source, from, to, find };
  const about = JSON.stringify(wanted);
  // One row is asked for again and again; the list and the picture, when it says that something has changed.
  const totals = useLive(async (signal) => (wanted === null ? null : segmentsTotal(wanted, signal)), [about], 10_000);
  const edition = useEdition(totals.data);
  const [page, setPage] = useState(0);
  useEffect(() => setPage(0), [about, sort]);
  const list = useLive(async (signal) => (wanted === null ? [] : segments(wanted, sort, page, PAGE, signal)), [about], null, `${edition} ${JSON.stringify(sort)} ${page}`);
  const groups = useLive(async (signal) => (source === null ? [] : segmentGroups(source, BLOCKS, signal)), [source], null, edition);
  const columns: TableColumn<Segment>[] = [
    { key: "start", title: "From", width: 178, text: (one) => one.start, show: (one) => <Instant at={one.start} brief /> },
    { key: "end", title: "To", width: 178, text: (one) => one.end, show: (one) => <Instant at={one.end} brief /> },
    { key: "fate", title: "State", width: 140, unsorted: true, text: (one) => FATES[fateOf(one)].text, show: (one) => <FateBadge of={fateOf(one)} /> },
    { key: "version", title: "Version", yields: 3, text: (one) => one.version },
    { key: "partition", title: "Partition", width: 100, yields: 2, end: true, text: (one) => count(one.partition_num), value: (one) => one.partition_num },
    { key: "rows", title: "Rows", width: 110, end: true, text: (one) => count(one.num_rows), value: (one) => one.num_rows },
    { key: "size", title: "Size", width: 100, end: true, text: (one) => (one.is_published === 1 ? bytes(one.size) : "–"), value: (one) => one.size },
    { key: "copies", title: "Copies", width: 90, yields: 1, end: true, text: (one) => (one.replication_factor > 0 ? `${one.num_replicas} of ${one.replication_factor}` : String(one.num_replicas)), value: (one) => one.num_replicas },
  ];
  return (
    <div className="page fill">
      <Head title="Segments" about="Each block is an interval in one version; what stands below another is not read.">
        <Pick label="Datasource" value={source ?? ""} of={source === null ? [["", "none"]] : (names.data ?? []).map((one) => [one.datasource, one.datasource])} onChange={(value) => adjust({ source: value, from: null, to: null })} />
        <Filter value={typed} onChange={setTyped} label="Find a segment" />
      </Head>
      {totals.error !== null && <Failed error={totals.error} retry={totals.refresh} />}
      <section className="panel" aria-label="Timeline">
        <div className="inside" style={{ display: "grid", gap: 10 }}>
          <Shown live={groups}>{(all) => (all.length === 0 ? <Empty title="No segments" /> : <Picture groups={all} onChoose={(block) => adjust({ from: new Date(block.from).toISOString(), to: new Date(block.to).toISOString() })} />)}</Shown>
          <div className="legend">
            {(Object.keys(FATES) as Fate[]).map((fate) => (
              <span key={fate}>
                <Swatch fill={FATES[fate].fill} />
                {FATES[fate].text}
              </span>
            ))}
            <span className="grow" />
            {groups.data !== null && groups.data.length >= BLOCKS && <span>the newest {count(BLOCKS)} blocks</span>}
            {totals.data !== null && (
              <span className="figures">
                {plural(totals.data.segments, "segment")} · {plural(totals.data.rows, "row")} · {totals.data.size === 0 ? "nothing published yet" : `${bytes(totals.data.size)} published`}
              </span>
            )}
            {from !== null && (
              <button type="button" onClick={() => adjust({ from: null, to: null })}>
                Show all of time
              </button>
            )}
          </div>
        </div>
      </section>
      <section className="panel column grow" aria-label="Segments">
        <Shown live={list}>
          {(shown) => (
            <>
              <Table label="Segments" rows={shown} columns={columns} sort={sort} onSort={setSort} onOpen={setOpen} empty={<Empty title={typed === "" ? "No segments" : "None like that"} />} />
              {(page > 0 || shown.length === PAGE) && (
                <footer className="under">
                  <Pager page={page} total={totals.data?.segments ?? null} shown={shown.length} of="segments" onPage={setPage} />
                </footer>
              )}
            </>
          )}
        </Shown>
      </section>
      {open !== null && (
        <Dialog
          kind="side"
          title="Segment"
          onClose={() => setOpen(null)}
          foot={
            may(who, "DATASOURCE", open.datasource, "WRITE") && open.is_published === 1 && open.is_active === 1 ? (
              <button
                type="button"
                onClick={() =>
                  setQuestion({
                    title: "Take this segment out of use?",
                    consequence: `Its ${count(open.num_rows)} rows leave all answers within seconds. Its file is kept for a while, and the datasource's segments can be used again.`,
                    action: "Take it out of use",
                    grave: true,
                    act: () => markUnused(open.datasource, [open.segment_id]),
                  })
                }
              >
                Take it out of use…
              </button>
            ) : undefined
          }
        >
          <dl className="facts">
            <dt>Id</dt>
            <dd className="mono">{open.segment_id}</dd>
            <dt>State</dt>
            <dd>
              <FateBadge of={fateOf(open)} />
            </dd>
            <dt>Datasource</dt>
            <dd>
              <Name>{open.datasource}</Name>
            </dd>
            <dt>From</dt>
            <dd>
              <Instant at={open.start} />
            </dd>
            <dt>To</dt>
            <dd>
              <Instant at={open.end} />
            </dd>
            <dt>Version</dt>
            <dd>{open.version}</dd>
            <dt>Rows</dt>
            <dd>{count(open.num_rows)}</dd>
            <dt>Size</dt>
            <dd>{open.is_published === 1 ? `${bytes(open.size)} (${count(open.size)} bytes)` : "not published yet"}</dd>
            <dt>Density</dt>
            <dd>{open.size > 0 ? `${(open.size / Math.max(1, open.num_rows)).toFixed(1)} bytes a row` : "–"}</dd>
            <dt>Copies</dt>
            <dd>
              {count(open.num_replicas)}
              {open.replication_factor > 0 && ` of ${open.replication_factor} that the rules want`}
            </dd>
          </dl>
        </Dialog>
      )}
      {question !== null && (
        <Confirm
          question={question}
          onClose={() => setQuestion(null)}
          onDone={() => {
            setOpen(null);
            totals.refresh();
            list.refresh();
            groups.refresh();
          }}
        />
      )}
    </div>
  );
}

const LANE = 26;

function Picture({ groups, onChoose }: { groups: SegmentsGroup[]; onChoose: (block: Block) => void }): ReactNode {
  const { zone } = useSettings();
  const { blocks, lanes, from, to } = useMemo(() => layOut(groups), [groups]);
  const [room, width] = useWidth(1100);
  if (blocks.length === 0) return null;
  const span = to - from;
  const x = (at: number): number => ((at - from) / span) * width;
  const shown = Math.min(lanes, 8);
  const largest = blocks.reduce((most, one) => Math.max(most, one.rows), 1);
  const ticks = ticksOf(from, to, Math.max(2, Math.floor(width / 130)));
  const day = 86_400_000;
  return (
    <div ref={room}>
    <svg className="timeline" viewBox={`0 0 ${width} ${shown * LANE + 24}`} role="group" aria-label={`${blocks.length} intervals from ${instant(from, zone)} to ${instant(to, zone)}`}>
      {blocks
        .filter((one) => one.lane < 8)
        .map((block) => {
          const text = `${instant(block.from, zone)} to ${instant(block.to, zone)}: ${FATES[block.fate].text}, ${plural(block.segments, "segment")}, ${count(block.rows)} rows, ${bytes(block.size)}, version ${block.version}`;
          // How full a block is shows how the rows lie in time.
          const height = 6 + (LANE - 10) * Math.sqrt(block.rows / largest);
          return (
            <g
              key={`${block.from}/${block.to}/${block.version}/${block.lane}`}
              role="button"
              // Hundreds of stops would keep the keyboard from the list below, which has all of them.
              tabIndex={blocks.length > 200 ? -1 : 0}
              aria-label={text}
              onClick={() => onChoose(block)}
              onKeyDown={(event) => {
                if (event.key === "Enter" || event.key === " ") {
                  event.preventDefault();
                  onChoose(block);
                }
              }}
            >
              <title>{text}</title>
              <rect x={x(block.from)} width={Math.max(2, x(block.to) - x(block.from))} y={block.lane * LANE} height={LANE - 3} fill={FATES[block.fate].fill} fillOpacity="0.22" />
              <rect x={x(block.from)} width={Math.max(2, x(block.to) - x(block.from))} y={block.lane * LANE + (LANE - 3) - height} height={height} fill={FATES[block.fate].fill} />
            </g>
          );
        })}
      {ticks.map((tick, at) => (
        <text key={tick} x={x(tick)} y={shown * LANE + 16} textAnchor={x(tick) < 50 ? "start" : x(tick) > width - 50 ? "end" : "middle"}>
          {span > 4 * day ? instant(tick, zone).slice(0, 10) : instant(tick, zone).slice(5, 16)}
          {at === 0 && ` ${zoneName(zone, tick)}`}
        </text>
      ))}
    </svg>
    </div>
  );
}
