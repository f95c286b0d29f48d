// The page's icons: strokes on a grid of 20, in the colour of the text beside them.

import type { ReactNode } from "react";

const paths = {
  home: "M3 9.2 10 3l7 6.2M5 8v8.5h10V8",
  query: "M6 6 2.5 10 6 14M14 6l3.5 4-3.5 4M11.5 4l-3 12",
  explore: "M3 16.5V10M8 16.5V4M13 16.5V8M18 16.5v-4",
  raise: "M10 12V3M6 6.500l4-4 4 4M3.500 16.500h13",
  load: "M10 3v9M6 8.5l4 4 4-4M3.5 16.5h13",
  datasources: "M4 5c0-1.4 2.7-2.3 6-2.3s6 .9 6 2.3-2.7 2.3-6 2.3S4 6.400 4 5ZM4 5v10c0 1.400 2.700 2.300 6 2.300s6-.900 6-2.300V5M4 10c0 1.400 2.700 2.300 6 2.300s6-.900 6-2.300",
  segments: "M2.500 5h6v3.500h-6zM11 5h6.500v3.500H11zM2.500 11.500h9V15h-9zM14 11.500h3.500V15H14z",
  ingestion: "M3 6h6.500a3.500 3.500 0 0 1 0 8H6M13 3l4 3-4 3M9.500 6H17M8 11l-3 3 3 3",
  services: "M3 3.500h14v5H3zM3 11.500h14v5H3zM6 6h.01M6 14h.01",
  lookups: "M3 4h5v12H3zM12 4h5v12h-5zM8 8h4M8 12h4",
  access: "M10 2.500 16 5v4.500c0 3.700-2.500 6.500-6 8-3.500-1.500-6-4.300-6-8V5zM7.500 10l1.800 1.800L13 8",
  audit: "M5 2.500h7l3.500 3.500v11.500H5zM12 2.500V6h3.500M7.500 10h5.500M7.500 13.500h5.500",
  run: "M6 4v12l10-6z",
  stop: "M5.500 5.500h9v9h-9z",
  close: "M5 5l10 10M15 5 5 15",
  add: "M10 4v12M4 10h12",
  down: "M5 8l5 5 5-5",
  right: "M8 5l5 5-5 5",
  more: "M4.500 10h.01M10 10h.01M15.500 10h.01",
  refresh: "M16 5v4h-4M16 9a6.300 6.300 0 1 0 .3 3",
  search: "M9 3.500a5.500 5.500 0 1 1 0 11 5.500 5.500 0 0 1 0-11ZM13 13l4 4",
  warn: "M10 3 18 16.500H2zM10 8v4M10 14.300h.01",
  check: "M4 10.500 8.200 14.500 16 6",
  person: "M10 3a3.200 3.200 0 1 1 0 6.400A3.200 3.200 0 0 1 10 3ZM3.500 17c.6-3.400 3.200-5 6.500-5s5.900 1.600 6.500 5",
  sun: "M10 6.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7ZM10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M4.300 15.700l1.100-1.100M14.600 5.400l1.100-1.100",
  clock: "M10 3a7 7 0 1 1 0 14 7 7 0 0 1 0-14ZM10 6v4.300l2.800 1.700",
  table: "M3 4h14v12H3zM3 8h14M3 12h14M8 8v8",
  chart: "M3 14l4.500-5 3.500 3L17 5M3 17h14",
  tree: "M3 4h6v4H3zM11 12h6v4h-6zM6 8v6h5",
  menu: "M3 5.500h14M3 10h14M3 14.500h14",
  copy: "M7 7h9v9H7zM4 13V4h9",
  dashboards: "M3 3.500h6v7H3zM11 3.500h6v4h-6zM11 9.500h6v7h-6zM3 12.500h6v4H3z",
  bell: "M5.500 13.500V9a4.500 4.500 0 0 1 9 0v4.500l1.500 1.500H4zM8.500 17h3",
  star: "M10 2.800l2.200 4.700 5.100.600-3.800 3.500 1 5.100L10 14.200l-4.500 2.500 1-5.100L2.700 8.100l5.100-.600z",
  edit: "M4 16l.800-3.600L13 4.200l2.800 2.800-8.200 8.200zM11.500 5.700l2.800 2.800",
  grip: "M7.500 5h.01M12.500 5h.01M7.500 10h.01M12.500 10h.01M7.500 15h.01M12.500 15h.01",
  corner: "M16 6v10H6M16 11l-5 5",
  save: "M3.500 3.500h10l3 3v10h-13zM6.500 3.500v4h6v-4M6.500 16.500v-5h7v5",
  open: "M3 16V4.500h5l1.500 2H17V16z",
  mute: "M5.500 13.500V9c0-.900.300-1.800.700-2.500M8 5a4.500 4.500 0 0 1 6.500 4v4.500M4 15h11.500M8.500 17h3M3 3l14 14",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }): ReactNode {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.6" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

export function Mark({ size = 24 }: { size?: number }): ReactNode {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="var(--accent)" />
      <path d="M6 9.5h20v4H6zM8 15h5v9H8zM19 15h5v9h-5z" fill="var(--on-accent)" />
    </svg>
  );
}
