// What the server makes of some events of the input: the rows that they become, the events as they came, those that the filter
// leaves out, and those that cannot be read, with the reason.

import { useMemo, useState, type ReactNode } from "react";
import type { SampleAnswer, Sampled } from "../api/ingestion";
import { count, instant, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { Empty } from "../parts/state";
import { Table, type TableColumn } from "../parts/table";
import { useSettings } from "../settings";
import type { Json } from "./spec";

/** A sample, and what it is one of. */
export interface Looked {
  answer: SampleAnswer;
  reading: string;
  place: string;
}

type View = "rows" | "input" | "left" | "wrong";

const text = (value: unknown): string | null => (value === null || value === undefined ? null : typeof value === "object" ? JSON.stringify(value) : String(value));

const namesOf = (rows: Json[]): string[] => [...new Set(rows.flatMap((row) => Object.keys(row)))];

const isJson = (one: Json | null | undefined): one is Json => one !== null && one !== undefined;

/** The events that have fields at all: what is not of the format comes as its text alone. */
export const documentsOf = (answer: SampleAnswer): Json[] => answer.data.map((one) => one.input).filter((one): one is Json => isJson(one) && !(Object.keys(one).length === 1 && "raw" in one && answer.numRowsRead > 1));

export const unreadOf = (answer: SampleAnswer): Sampled[] => answer.data.filter((one) => one.unparseable === true || one.error !== undefined);

export const leftOutOf = (answer: SampleAnswer): Json[] => answer.data.filter((one) => one.parsed === undefined && one.error === undefined && one.unparseable !== true).map((one) => one.input).filter(isJson);

interface SampleProps {
  looked: Looked;
  /** A newer one is being asked for. */
  busy: boolean;
  /** It is of another source than the spec's. */
  stale: boolean;
  onLook: () => void;
  /** Columns that the spec makes. */
  made: string[];
}

export function SampleOf({ looked: { answer }, busy, stale, onLook, made }: SampleProps): ReactNode {
  const { zone } = useSettings();
  const wrong = useMemo(() => unreadOf(answer), [answer]);
  const left = useMemo(() => leftOutOf(answer), [answer]);
  const rows = useMemo(() => answer.data.map((one) => one.parsed).filter(isJson), [answer]);
  const inputs = useMemo(() => answer.data.map((one) => one.input).filter(isJson), [answer]);
  const [chosen, setChosen] = useState<View | null>(null);
  // Where no row comes of anything, why is what is worth seeing.
  const view: View = chosen !== null && { rows: true, input: true, left: left.length > 0, wrong: wrong.length > 0 }[chosen] ? chosen : rows.length === 0 && wrong.length > 0 ? "wrong" : "rows";
  const shown = view === "rows" ? rows : view === "left" ? left : inputs;
  const columns = useMemo(() => {
    const types = new Map((answer.logicalSegmentSchema ?? []).map((one) => [one.name, one.type]));
    const names = view === "rows" && types.size > 0 ? [...types.keys()] : namesOf(shown);
    return names.map((name): TableColumn<Json> => {
      const time = view === "rows" && name === "__time";
      const type = view === "rows" ? (time ? (zone === "utc" ? "UTC" : "local") : types.get(name)?.toLowerCase().replace("complex<json>", "json")) : undefined;
      return {
        key: name,
        title: name,
        note: type === undefined ? undefined : made.includes(name) ? `${type}, computed` : type,
        end: /^(long|double|float)$/.test(type ?? ""),
        text: (row) => (time ? instant(row[name] as number, zone) : text(row[name])),
        value: (row) => (typeof row[name] === "number" ? row[name] : text(row[name])),
      };
    });
  }, [view, answer, zone, made.join("\u0000")]);
  const VIEWS: [View, string, number][] = [
    ["rows", "Rows", rows.length],
    ["input", "As they came", inputs.length],
    ["left", "Left out", left.length],
    ["wrong", "Not read", wrong.length],
  ];
  return (
    <section className="panel sample" aria-label="What comes of it" aria-busy={busy}>
      <div className="toolbar">
        <div className="segmented" role="group" aria-label="Of the sample">
          {VIEWS.filter(([one, , number]) => one === "rows" || one === "input" || number > 0).map(([one, name, number]) => (
            <button key={one} type="button" aria-pressed={view === one} onClick={() => setChosen(one)}>
              {name} <span className="muted figures">{count(number)}</span>
            </button>
          ))}
        </div>
        <span className="told" role="status">
          {stale ? "of another source than the form's" : busy ? "Looking…" : told(answer, left.length, wrong.length)}
        </span>
        <span className="spread">
          <button type="button" onClick={onLook} disabled={busy}>
            <Icon name="refresh" size={14} /> Look again
          </button>
        </span>
      </div>
      {view === "wrong" ? (
        <Unread wrong={wrong} />
      ) : (
        <Table key={view} label={view === "rows" ? "Rows of the sample" : "Some events"} rows={shown} columns={columns} fit={false} empty={<Empty title={answer.data.length === 0 ? "There is nothing to read yet" : "No event becomes a row"}>{answer.data.length > 0 && left.length > 0 && "The filter leaves all of them out."}</Empty>} />
      )}
    </section>
  );
}

function told(answer: SampleAnswer, left: number, wrong: number): string {
  const parts = [`${plural(answer.numRowsIndexed, "row")} of ${plural(answer.numRowsRead, "event")}`];
  if (left > 0) parts.push(`${count(left)} left out by the filter`);
  if (wrong > 0) parts.push(`${count(wrong)} could not be read`);
  return parts.join(" · ");
}

function Unread({ wrong }: { wrong: Sampled[] }): ReactNode {
  return (
    <ul className="history unread" aria-label="Events that could not be read" tabIndex={0}>
      {wrong.slice(0, 50).map((one, at) => (
        <li key={at}>
          <strong>
            <bdi>{one.error ?? "unparseable"}</bdi>
          </strong>
          {one.input !== undefined && one.input !== null && <pre className="document">{JSON.stringify(one.input).slice(0, 2000)}</pre>}
        </li>
      ))}
      {wrong.length > 50 && <li className="muted">The first 50 are shown.</li>}
    </ul>
  );
}
