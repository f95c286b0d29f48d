// What came of a run: its rows as a table, its drawing, or its error; and ways to take it elsewhere.

import * as Menu from "@radix-ui/react-dropdown-menu";
import { lazy, Suspense, useMemo, useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import type { RunState } from "../api/progress";
import { download, type Cell, type Column, type ExportFormat, type Result } from "../api/sql";
import { Dialog } from "../parts/dialog";
import { Drop } from "../parts/drop";
import { bytes, duration, figure, instant, plural, type Zone } from "../parts/format";
import { Icon } from "../parts/icon";
import { shapeOf, type ChartKind } from "../parts/shape";
import { Empty, Failed, Loading } from "../parts/state";
import { Table, type TableColumn } from "../parts/table";
import { addressOf, LONGEST_LINK } from "../router";
import { useSettings } from "../settings";
import { asCurl, asPython } from "./handover";

const Chart = lazy(() => import("../parts/chart"));
const Course = lazy(() => import("./course").then((part) => ({ default: part.Course })));
const AddPanel = lazy(() => import("./add-panel").then((part) => ({ default: part.AddPanel })));

const KIND_NAMES: Record<ChartKind, string> = { time: "Over time", bar: "Bars", pie: "Shares", heat: "Heat map" };

export function cellText(cell: Cell, type: string, zone: Zone): string | null {
  if (cell === null || cell === undefined) return null;
  if (type === "TIMESTAMP") return instant(cell as string | number, zone);
  if (typeof cell === "number" || typeof cell === "bigint") return figure(cell);
  if (typeof cell === "object") return JSON.stringify(cell, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
  return String(cell);
}

export function tableColumns(columns: Column[], zone: Zone): TableColumn<Cell[]>[] {
  return columns.map((column, at) => ({
    key: `${at}:${column.name}`,
    title: column.name === "" ? "(no name)" : column.name,
    note: column.type === "TIMESTAMP" ? (zone === "utc" ? "UTC" : "local") : column.type.toLowerCase(),
    end: /^(TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|REAL|DOUBLE|DECIMAL)$/.test(column.type),
    text: (row) => cellText(row[at] ?? null, column.type, zone),
    value: (row) => {
      const cell = row[at] ?? null;
      return typeof cell === "object" && cell !== null ? JSON.stringify(cell) : cell;
    },
  }));
}

interface ResultsProps {
  result: Result;
  text: string;
  native: boolean;
  context: Record<string, unknown>;
  limit: number;
  needsUser: boolean;
  /** How the run went, once it is told. */
  run: RunState | null;
  /** Whether the server keeps dashboards, to which a result may be added. */
  keeps: boolean;
}

export function Results({ result, text, native, context, limit, needsUser, run, keeps }: ResultsProps): ReactNode {
  const { zone } = useSettings();
  const [as, setAs] = useState<"table" | "course" | ChartKind>("table");
  const [adding, setAdding] = useState(false);
  const [cell, setCell] = useState<{ row: Cell[]; column: string; text: string | null } | null>(null);
  const [failed, setFailed] = useState<ApiError | null>(null);
  const [told, setTold] = useState<string | null>(null);
  const columns = useMemo(() => tableColumns(result.columns, zone), [result.columns, zone]);
  const shape = useMemo(() => shapeOf(result.columns, result.rows), [result]);
  const hasCourse = run !== null && run.steps.length > 0;
  const shown = as === "table" || (as === "course" ? hasCourse : shape.kinds.includes(as)) ? as : "table";
  const cut = result.cut || result.rows.length >= limit;

  const keep = async (format: ExportFormat, name: string): Promise<void> => {
    setFailed(null);
    try {
      const blob = native ? new Blob([JSON.stringify(asRecords(result), null, 1)]) : await download(text, format, context);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (thrown) {
      setFailed(asApiError(thrown));
    }
  };
  const copy = (what: string, made: string): void => {
    void navigator.clipboard.writeText(made).then(
      () => {
        setTold(`${what} copied`);
        setTimeout(() => setTold(null), 2000);
      },
      () => setTold("The browser does not let this page copy"),
    );
  };

  const copyLink = (): void => {
    const link = window.location.origin + addressOf("/query", { q: text });
    if (link.length > LONGEST_LINK) setTold("Too long for a link: save the query and share that");
    else copy("Link", link);
  };

  return (
    <>
      <div className="toolbar">
        <div className="segmented" role="group" aria-label="Shown as">
          <button type="button" aria-pressed={shown === "table"} onClick={() => setAs("table")}>
            Table
          </button>
          {shape.kinds.map((kind) => (
            <button key={kind} type="button" aria-pressed={shown === kind} onClick={() => setAs(kind)}>
              {KIND_NAMES[kind]}
            </button>
          ))}
          {hasCourse && (
            <button type="button" aria-pressed={shown === "course"} onClick={() => setAs("course")}>
              Course
            </button>
          )}
        </div>
        <span className="told" role="status">
          {cut && <strong>first </strong>}
          {plural(result.rows.length, "row")}
          {` in ${duration(result.elapsedMs)} · ${bytes(result.bytes)}`}
          {told !== null && ` · ${told}`}
        </span>
        <span className="row spread hands">
          {keeps && !native && (
            <button type="button" title="Add to a dashboard" onClick={() => setAdding(true)}>
              <Icon name="dashboards" size={15} /> <span className="hand">Add to a dashboard</span>
            </button>
          )}
          <Drop label="Download" icon="load">
            {native ? (
              <Menu.Item onSelect={() => void keep("object", "result.json")}>JSON</Menu.Item>
            ) : (
              <>
                <Menu.Item onSelect={() => void keep("csv", "result.csv")}>CSV</Menu.Item>
                <Menu.Item onSelect={() => void keep("object", "result.json")}>JSON</Menu.Item>
                <Menu.Item onSelect={() => void keep("arrow", "result.arrows")}>Arrow stream</Menu.Item>
              </>
            )}
          </Drop>
          <Drop label="Copy" icon="copy">
            <Menu.Item onSelect={() => copy("curl", asCurl(window.location.origin, text, native, needsUser))}>as curl</Menu.Item>
            <Menu.Item onSelect={() => copy("Python", asPython(window.location.origin, text, native, needsUser))}>as Python</Menu.Item>
            <Menu.Item onSelect={() => copyLink()}>as a link to this query</Menu.Item>
            <Menu.Item onSelect={() => copy("Rows", asTabs(result, zone))}>rows for a spreadsheet</Menu.Item>
          </Drop>
        </span>
      </div>
      {result.uncovered.length > 0 && (
        <div className="notice warn" role="status">
          <Icon name="warn" />
          <div>
            <strong>Rows are missing for now</strong> in {result.uncovered.join(", ")}: they are being read again.
          </div>
        </div>
      )}
      {failed !== null && <Failed error={failed} />}
      {shown === "table" ? (
        <Table
          label="Rows of the result"
          fit={false}
          rows={result.rows}
          columns={columns}
          empty={<Empty title="No rows">Nothing matches what was asked.</Empty>}
          onOpen={(row, column) => {
            const at = columns.findIndex((one) => one.key === column.key);
            const value = row[at] ?? null;
            const whole = typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : typeof value === "string" ? pretty(value) : column.text(row);
            if ((column.text(row)?.length ?? 0) > 24 || whole !== column.text(row)) setCell({ row, column: column.title, text: whole });
          }}
        />
      ) : shown === "course" && run !== null ? (
        <Suspense fallback={<Loading />}>
          <Course text={text} native={native} run={run} />
        </Suspense>
      ) : shown === "course" ? null : (
        <Suspense fallback={<Loading what="Drawing" />}>
          <Chart columns={result.columns} rows={result.rows} shape={shape} kind={shown} />
        </Suspense>
      )}
      {adding && (
        <Suspense>
          <AddPanel text={text} kind={({ table: "table", course: "table", time: "line", bar: "bar", pie: "pie", heat: "heat" } as const)[shown]} onClose={() => setAdding(false)} />
        </Suspense>
      )}
      {cell !== null && (
        <Dialog title={<bdi>{cell.column}</bdi>} onClose={() => setCell(null)} wide>
          <pre className="document">{cell.text}</pre>
        </Dialog>
      )}
    </>
  );
}

/** Documents within texts are laid out. */
function pretty(text: string): string {
  if (!/^[[{]/.test(text) || text.length > 1_000_000) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const asRecords = (result: Result): Record<string, unknown>[] =>
  result.rows.map((row) => Object.fromEntries(result.columns.map((column, at) => [column.name, typeof row[at] === "bigint" ? row[at].toString() : row[at]])));

/** At most a hundred thousand rows: more is what the download is for. A cell that a spreadsheet would take for a formula is text. */
export function asTabs(result: Result, zone: Zone): string {
  const safe = (text: string | null): string => {
    const plain = (text ?? "").replace(/[\t\r\n]+/g, " ");
    return /^[=+@]|^-(?!\d+(\.\d+)?$)/.test(plain) ? `'${plain}` : plain;
  };
  const lines = [result.columns.map((column) => safe(column.name)).join("\t")];
  for (const row of result.rows.slice(0, 100_000)) {
    lines.push(
      result.columns
        .map((column, at) => {
          const cell = row[at] ?? null;
          return safe(typeof cell === "number" || typeof cell === "bigint" ? String(cell) : cellText(cell, column.type, zone));
        })
        .join("\t"),
    );
  }
  return lines.join("\n");
}

