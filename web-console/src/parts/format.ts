// Figures as people read them: thousands apart, units, instants with their zone. Pure; the parts that show them are in `text.tsx`.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 });
const share = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const significant = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });

export function count(value: number | bigint | null | undefined): string {
  return value === null || value === undefined ? "–" : whole.format(value);
}

/** A figure of a result: integers whole, fractions to what is worth reading. */
export function figure(value: number | bigint): string {
  if (typeof value === "bigint") return value.toLocaleString("en-US");
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value)) return Math.abs(value) < 1e15 ? whole.format(value) : String(value);
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e15) return value.toExponential(3);
  return size < 1 ? significant.format(value) : fine.format(value);
}

/** Few characters, for axes and tiles: 12.3k, 4.5M. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return "–";
  if (size >= 1e4) {
    for (const [unit, letter] of [
      [1e12, "T"],
      [1e9, "G"],
      [1e6, "M"],
      [1e3, "k"],
    ] as const) {
      if (size >= unit * 0.9995) return `${trim(value / unit)}${letter}`;
    }
  }
  return size >= 100 || Number.isInteger(value) ? whole.format(value) : trim(value);
}

const trim = (value: number): string => String(Number(value.toPrecision(3)));

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  let left = value;
  while (Math.abs(left) >= 1023.5 && at < units.length - 1) {
    left /= 1024;
    at += 1;
  }
  return `${at === 0 ? whole.format(left) : left.toFixed(left < 9.95 ? 1 : 0)} ${units[at]}`;
}

/** Of milliseconds. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms) || ms < 0) return "–";
  if (ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** What a person calls the figures of a column: `bytes`, `ms`, `percent`, or any other word, which stands behind them. */
export function quantity(value: number | bigint, unit: string | null | undefined, brief = false): string {
  const size = Number(value);
  switch (unit) {
    case "bytes":
      return bytes(size);
    case "ms":
      return size < 0 ? `-${duration(-size)}` : duration(size);
    case "percent":
      return `${brief ? short(size) : share.format(size)}%`;
    default:
      if (brief) return short(size);
      return unit === null || unit === undefined || unit === "" ? figure(value) : `${figure(value)} ${unit}`;
  }
}

export function ago(instant: number, now: number): string {
  const ms = now - instant;
  if (ms < -2000) return `in ${duration(-ms)}`;
  if (ms < 1500) return "just now";
  // How long ago is read at a glance: no fractions, and no seconds beside minutes.
  return `${ms < 59_500 ? `${Math.round(ms / 1000)} s` : ms < 3_600_000 ? `${Math.max(1, Math.floor(ms / 60_000))} min` : duration(ms)} ago`;
}

export type Zone = "utc" | "local";

const pad = (value: number, width = 2): string => String(value).padStart(width, "0");

/** `2026-11-23 02:17:47.195Z`, or the local time with its offset; milliseconds only where there are any. */
export function instant(value: string | number, zone: Zone): string {
  const date = new Date(value);
  const ms = date.getTime();
  if (Number.isNaN(ms)) return String(value);
  if (zone === "utc") {
    if (date.getUTCFullYear() < 0 || date.getUTCFullYear() > 9999) return date.toISOString();
    const text = date.toISOString().replace("T", " ");
    return text.endsWith(".000Z") ? `${text.slice(0, -5)}Z` : text;
  }
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const far = Math.abs(offset);
  const fraction = ms % 1000 === 0 ? "" : `.${pad(((ms % 1000) + 1000) % 1000, 3)}`;
  return (
    `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ` +
    `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}${fraction}${sign}${pad(Math.floor(far / 60))}:${pad(far % 60)}`
  );
}

/** To the second, for lists that are read down. */
export const brief = (value: string | number, zone: Zone): string => {
  const ms = new Date(value).getTime();
  return Number.isNaN(ms) ? String(value) : instant(Math.floor(ms / 1000) * 1000, zone);
};

/** What the zone is called where there is little room: `UTC`, or the offset that holds at an instant. */
export function zoneName(zone: Zone, at: number): string {
  if (zone === "utc") return "UTC";
  const offset = -new Date(at).getTimezoneOffset();
  return `UTC${offset < 0 ? "-" : "+"}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
}

export const plural = (number: number, one: string, many = `${one}s`): string => `${count(number)} ${number === 1 ? one : many}`;
