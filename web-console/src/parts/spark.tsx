// A line so small that it needs no axes: how a figure went, beside the figure.

import type { ReactNode } from "react";

export function Spark({ values, label }: { values: number[]; label: string }): ReactNode {
  const top = Math.max(...values, 1e-9);
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, at) => `${(at * step).toFixed(2)},${(31 - (28 * value) / top).toFixed(2)}`).join(" ");
  return (
    <svg className="spark" viewBox="0 0 100 34" preserveAspectRatio="none" role="img" aria-label={`${label}, lately`}>
      <line x1="0" x2="100" y1="33" y2="33" stroke="var(--line)" vectorEffect="non-scaling-stroke" />
      {values.length > 1 && <polyline points={points} fill="none" stroke="var(--accent)" strokeWidth="1.6" vectorEffect="non-scaling-stroke" />}
    </svg>
  );
}
