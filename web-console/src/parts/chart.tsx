// Drawings of a result: lines over time (a million points, on a canvas), bars, a pie, a heat map. Colours come from the theme.

import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Cell, Column } from "../api/sql";
import { useSettings } from "../settings";
import { instant, quantity, zoneName, type Zone } from "./format";
import { bars, heat, shapeOf, slices, timeSeries, type ChartKind, type Series, type Shape } from "./shape";
import { Empty } from "./state";
import { useWidth } from "./width";

const COLOURS = Array.from({ length: 8 }, (_, at) => `var(--c${at + 1})`);

/** Changes with the theme, whoever changed it. */
function useTheme(): string {
  const { theme } = useSettings();
  const [dark, setDark] = useState(() => window.matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = window.matchMedia("(prefers-color-scheme: dark)");
    const listen = (): void => setDark(query.matches);
    query.addEventListener("change", listen);
    return () => query.removeEventListener("change", listen);
  }, []);
  return theme === "system" ? (dark ? "dark" : "light") : theme;
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

interface LinesProps {
  times: number[];
  series: Series[];
  label: string;
  height?: number;
  /** Of the values; see `quantity`. */
  unit?: string | null;
  /** Told in milliseconds when a stretch is chosen by dragging; without it, dragging zooms. */
  onBrush?: (from: number, to: number) => void;
}

export function TimeLines({ times, series, label, height, unit, onBrush }: LinesProps): ReactNode {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const { zone } = useSettings();
  const theme = useTheme();
  const brush = useRef(onBrush);
  brush.current = onBrush;

  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const text = colour("--muted");
    const line = colour("--line");
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis: uPlot.Axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font };
    // The legend has as many lines as its names need.
    const room = (): { width: number; height: number } => ({ width: Math.max(200, element.clientWidth), height: height ?? Math.max(120, element.clientHeight - (element.querySelector<HTMLElement>(".u-legend")?.offsetHeight ?? 44) - 4) });
    const data: uPlot.AlignedData = [times, ...series.map((one) => one.values)] as uPlot.AlignedData;
    const made = new uPlot(
      {
        ...room(),
        ms: 1,
        tzDate: (stamp) => (zone === "utc" ? uPlot.tzDate(new Date(stamp), "Etc/UTC") : new Date(stamp)),
        scales: { x: { time: true } },
        cursor: { drag: { x: true, y: false, setScale: brush.current === undefined }, points: { size: 6 } },
        legend: { live: true, markers: { width: 2 } },
        axes: [{ ...axis, space: 84, values: (_, ticks, __, ___, step) => ticks.map((tick, at) => tickText(tick, at === 0 ? null : (ticks[at - 1] ?? null), step, zone)) }, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => quantity(tick, unit, true)) }],
        series: [
          { label: "Time", value: (_, stamp) => (stamp === null ? "–" : instant(stamp, zone)) },
          ...series.map((one, at) => ({
            label: one.name === "" ? "value" : one.name,
            stroke: colour(`--c${(at % 8) + 1}`),
            width: 1.5,
            spanGaps: times.length < 5000,
            points: { show: times.length <= 40 },
            value: (_: uPlot, value: number | null) => (value === null || value === undefined ? "–" : quantity(value, unit)),
          })),
        ],
        hooks: {
          // Without a place that is pointed at, the legend names the lines and no more.
          ready: [(self) => self.root.classList.add("idle")],
          setCursor: [(self) => self.root.classList.toggle("idle", typeof self.cursor.idx !== "number")],
          setSelect: [
            (self) => {
              if (brush.current === undefined || self.select.width < 4) return;
              brush.current(self.posToVal(self.select.left, "x"), self.posToVal(self.select.left + self.select.width, "x"));
              self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
        },
      },
      data,
      element,
    );
    plot.current = made;
    const onWheel = (event: WheelEvent): void => {
      if (!event.ctrlKey && Math.abs(event.deltaX) < Math.abs(event.deltaY) && brush.current !== undefined) return;
      event.preventDefault();
      const box = made.over.getBoundingClientRect();
      if (Math.abs(event.deltaX) >= Math.abs(event.deltaY) || event.shiftKey) pan(made, (event.deltaX || event.deltaY) / box.width);
      else zoom(made, event.deltaY < 0 ? 0.8 : 1.25, made.posToVal(event.clientX - box.left, "x"));
    };
    made.over.addEventListener("wheel", onWheel, { passive: false });
    const fit = (): void => {
      const { width } = room();
      if (width !== made.width) made.setSize({ width, height: made.height });
      made.setSize(room());
    };
    const observer = new ResizeObserver(fit);
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [times, series, zone, theme, height, unit]);

  const onKeyDown = (event: KeyboardEvent): void => {
    const made = plot.current;
    if (made === null) return;
    if (event.key === "ArrowLeft") pan(made, -0.15);
    else if (event.key === "ArrowRight") pan(made, 0.15);
    else if (event.key === "+" || event.key === "=") zoom(made, 0.7, null);
    else if (event.key === "-") zoom(made, 1.4, null);
    else if (event.key === "0") whole(made);
    else return;
    event.preventDefault();
  };
  const points = times.length * series.length;
  return (
    <div
      ref={host}
      className="lines-chart"
      tabIndex={0}
      role="img"
      aria-label={`${label}: ${points.toLocaleString("en-US")} points. Arrow keys pan, plus and minus zoom, 0 shows all.`}
      onKeyDown={onKeyDown}
      style={{ height: height === undefined ? "100%" : undefined }}
    />
  );
}

/** As short as the distance between ticks lets it be; the day stands where it begins, the zone at the first. */
function tickText(tick: number, before: number | null, step: number, zone: Zone): string {
  const text = instant(tick, zone);
  const day = text.slice(0, 10);
  if (step >= 86_400_000) return before === null ? `${day}\n${zoneName(zone, tick)}` : day;
  const time = step < 1000 ? text.slice(11, 23).replace(/[Z+-].*$/, "") : text.slice(11, step < 60_000 ? 19 : 16);
  if (before === null) return `${time}\n${day} ${zoneName(zone, tick)}`;
  return instant(before, zone).slice(0, 10) !== day ? `${time}\n${day}` : time;
}

const bounds = (plot: uPlot): [number, number] => [plot.data[0][0] ?? 0, plot.data[0][plot.data[0].length - 1] ?? 1];

function show(plot: uPlot, from: number, to: number): void {
  const [first, last] = bounds(plot);
  const span = Math.min(to - from, last - first);
  const start = Math.max(first, Math.min(from, last - span));
  plot.setScale("x", { min: start, max: start + span });
}

function pan(plot: uPlot, by: number): void {
  const { min, max } = plot.scales.x ?? {};
  if (typeof min === "number" && typeof max === "number") show(plot, min + (max - min) * by, max + (max - min) * by);
}

function zoom(plot: uPlot, factor: number, about: number | null): void {
  const { min, max } = plot.scales.x ?? {};
  if (typeof min !== "number" || typeof max !== "number") return;
  const centre = about ?? (min + max) / 2;
  show(plot, centre - (centre - min) * factor, centre + (max - centre) * factor);
}

function whole(plot: uPlot): void {
  const [first, last] = bounds(plot);
  plot.setScale("x", { min: first, max: last });
}

const tell = (name: string, time: boolean, zone: Zone): string => (time ? instant(name, zone) : name);

export function Bars({ items, left, time = false, unit }: { items: { name: string; value: number }[]; left: number; time?: boolean; unit?: string | null }): ReactNode {
  const { zone } = useSettings();
  const high = Math.max(0, ...items.map((one) => one.value));
  const low = Math.min(0, ...items.map((one) => one.value));
  const span = high - low || 1;
  return (
    <div className="bars" role="list" aria-label="Bars, the largest first">
      {items.map((one) => {
        const name = tell(one.name, time, zone);
        return (
          <div key={one.name} role="listitem" style={{ display: "contents" }}>
            <bdi className="label" title={name}>
              {name === "" ? "(empty)" : name}
            </bdi>
            <span className="track">
              <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                <rect x={((Math.min(0, one.value) - low) / span) * 100} width={Math.max(0.15, (Math.abs(one.value) / span) * 100)} height="10" rx="0.5" fill="var(--c1)" />
              </svg>
            </span>
            <span className="value">{quantity(one.value, unit)}</span>
          </div>
        );
      })}
      {left > 0 && <span className="muted">and {left.toLocaleString("en-US")} more</span>}
    </div>
  );
}

function Pie({ parts, unit }: { parts: { name: string; value: number; share: number }[]; unit?: string | null }): ReactNode {
  let from = -Math.PI / 2;
  const at = (angle: number, radius: number): string => `${(100 + radius * Math.cos(angle)).toFixed(2)} ${(100 + radius * Math.sin(angle)).toFixed(2)}`;
  const paths = parts.map((part) => {
    // A whole circle has no two ends; an arc that nearly closes looks like one.
    const to = from + Math.min(part.share, 0.99999) * 2 * Math.PI;
    const large = to - from > Math.PI ? 1 : 0;
    const path = `M${at(from, 96)}A96 96 0 ${large} 1 ${at(to, 96)}L${at(to, 54)}A54 54 0 ${large} 0 ${at(from, 54)}Z`;
    from = to;
    return path;
  });
  return (
    <div className="pie">
      <svg width="240" height="240" viewBox="0 0 200 200" role="img" aria-label="Shares of the whole">
        {paths.map((path, index) => (
          <path key={parts[index]?.name} d={path} fill={COLOURS[index % 8]} stroke="var(--panel)" strokeWidth="1.5" />
        ))}
      </svg>
      <ul>
        {parts.map((part, index) => (
          <li key={part.name}>
            <svg className="swatch" viewBox="0 0 10 10" aria-hidden="true">
              <rect width="10" height="10" fill={COLOURS[index % 8]} />
            </svg>
            <bdi className="name" title={part.name}>
              {part.name === "" ? "(empty)" : part.name}
            </bdi>
            <span>{quantity(part.value, unit)}</span>
            <span className="muted">{(part.share * 100).toFixed(1)}%</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Of a cell of a heat map, in pixels: few columns do not become bands. */
const WIDEST = 150;

function HeatMap({ rows, across, down, measure, time, unit }: { rows: Cell[][]; across: number; down: number; measure: number; time: boolean; unit?: string | null }): ReactNode {
  const { zone } = useSettings();
  const map = useMemo(() => heat(rows, across, down, measure, time), [rows, across, down, measure, time]);
  const [box, room] = useWidth(1080);
  const side = Math.min(180, Math.round(room * 0.3), 16 + 7 * Math.max(...map.down.map((name) => name.length), 4));
  const cell = { width: Math.max(12, Math.min(WIDEST, (room - side) / map.across.length)), height: 22 };
  const letters = Math.floor((side - 8) / 6.5);
  const span = map.high - map.low || 1;
  const step = Math.max(1, Math.ceil(90 / cell.width));
  const known = Number.isFinite(map.low);
  const when = time && map.across[0] !== undefined ? zoneName(zone, Date.parse(map.across[0])) : null;
  return (
    <div ref={box} className="heat-room">
      {known && (
        <div className="legend" aria-hidden="true">
          <span>
            {quantity(map.low, unit, true)} <span className="heat-scale" /> {quantity(map.high, unit, true)}
          </span>
          {when !== null && <span>Times in {when}</span>}
        </div>
      )}
      <svg className="timeline" viewBox={`0 0 ${side + cell.width * map.across.length} ${cell.height * map.down.length + 28}`} style={{ width: side + cell.width * map.across.length }} role="img" aria-label="Heat map">
      {map.down.map((name, row) => (
        <g key={name}>
          <text x={side - 8} y={row * cell.height + 15} textAnchor="end">
            {name.length > letters ? `${name.slice(0, letters - 1)}…` : name}
          </text>
          {map.across.map((column, index) => {
            const value = map.values[row]?.[index] ?? null;
            return (
              <rect
                key={column}
                x={side + index * cell.width}
                y={row * cell.height}
                width={cell.width}
                height={cell.height}
                fill={value === null ? "var(--sunken)" : `color-mix(in oklab, var(--heat-high) ${Math.round((100 * (value - map.low)) / span)}%, var(--heat-low))`}
              >
                <title>{`${name}, ${tell(column, time, zone)}: ${value === null ? "nothing" : quantity(value, unit)}`}</title>
              </rect>
            );
          })}
        </g>
      ))}
      {map.across.map((column, index) =>
        index % step === 0 && (map.across.length - index) * cell.width >= 70 ? (
          <text key={column} x={side + index * cell.width} y={cell.height * map.down.length + 18}>
            {tell(column, time, zone).slice(time ? 5 : 0, time ? 16 : 14)}
          </text>
        ) : null,
      )}
      </svg>
    </div>
  );
}

/** A result as one kind of drawing, of the columns that fit it first; for where there is no room to choose others. */
export function Drawing({ columns, rows, kind, unit, label }: { columns: Column[]; rows: Cell[][]; kind: ChartKind; unit: string | null; label: string }): ReactNode {
  const shape = useMemo(() => shapeOf(columns, rows), [columns, rows]);
  const time = shape.times[0] ?? null;
  const named = shape.names[0] ?? time;
  const measure = shape.measures[0] ?? null;
  const lines = useMemo(() => {
    if (kind !== "time" || time === null || measure === null) return null;
    const split = shape.names[0] ?? null;
    return timeSeries(columns, rows, time, split === null ? shape.measures : [measure], split);
  }, [columns, rows, shape, kind, time, measure]);
  const lacks = (what: string): ReactNode => <Empty title="Not to be drawn like this">{`It needs ${what}.`}</Empty>;
  if (measure === null) return lacks("a column of numbers");
  if (kind === "time") return lines === null ? lacks("a column of times") : <TimeLines times={lines.times} series={lines.series} label={label} unit={unit} />;
  if (named === null) return lacks("a column of names or times");
  if (kind === "bar") {
    const { bars: items, left } = bars(rows, named, measure, 60);
    return <Bars items={items} left={left} time={named === time} unit={unit} />;
  }
  if (kind === "pie") return <Pie parts={slices(rows, named, measure)} unit={unit} />;
  const across = time ?? shape.names[0];
  const down = time === null ? shape.names[1] : shape.names[0];
  if (across === undefined || down === undefined) return lacks("two columns of names, or one beside times");
  return <HeatMap rows={rows} across={across} down={down} measure={measure} time={time !== null} unit={unit} />;
}

/** The drawing of a result; `shape` says which are possible. */
export default function Chart({ columns, rows, shape, kind }: { columns: Column[]; rows: Cell[][]; shape: Shape; kind: ChartKind }): ReactNode {
  const [measure, setMeasure] = useState(shape.measures[0] ?? 0);
  const [name, setName] = useState<number | null>(shape.names[0] ?? shape.times[0] ?? null);
  const chosen = shape.measures.includes(measure) ? measure : (shape.measures[0] ?? 0);
  const named = name !== null && (shape.names.includes(name) || shape.times.includes(name)) ? name : (shape.names[0] ?? shape.times[0] ?? null);
  const time = shape.times[0] ?? null;
  const lines = useMemo(() => {
    if (kind !== "time" || time === null) return null;
    const split = shape.names[0] ?? null;
    return timeSeries(columns, rows, time, split === null ? shape.measures : [chosen], split);
  }, [columns, rows, shape, kind, time, chosen]);
  const choice = (label: string, value: number | null, of: number[], set: (value: number) => void): ReactNode =>
    of.length < 2 ? null : (
      <label className="row">
        <span className="muted">{label}</span>
        <select value={value ?? ""} onChange={(event) => set(Number(event.target.value))}>
          {of.map((at) => (
            <option key={at} value={at}>
              {columns[at]?.name}
            </option>
          ))}
        </select>
      </label>
    );
  let drawing: ReactNode = <Empty title="This result has nothing to draw">A chart needs a column of numbers beside times or names.</Empty>;
  if (kind === "time" && lines !== null) drawing = <TimeLines times={lines.times} series={lines.series} label="Values over time" />;
  else if (kind === "bar" && named !== null) {
    const { bars: items, left } = bars(rows, named, chosen, 60);
    drawing = <Bars items={items} left={left} time={shape.times.includes(named)} />;
  } else if (kind === "pie" && named !== null) drawing = <Pie parts={slices(rows, named, chosen)} />;
  else if (kind === "heat") {
    const across = time ?? shape.names[0];
    const down = time === null ? shape.names[1] : shape.names[0];
    if (across !== undefined && down !== undefined) drawing = <HeatMap rows={rows} across={across} down={down} measure={chosen} time={time !== null} />;
  }
  return (
    <div className="chart-room">
      <div className="row chart-choices">
        {(kind !== "time" || shape.names.length > 0) && choice("Value", chosen, shape.measures, setMeasure)}
        {(kind === "bar" || kind === "pie") && choice("By", named, [...shape.names, ...shape.times], setName)}
        {lines !== null && lines.left > 0 && <span className="muted">the 8 largest series; {lines.left.toLocaleString("en-US")} more are not drawn</span>}
      </div>
      <div className="chart">{drawing}</div>
    </div>
  );
}

