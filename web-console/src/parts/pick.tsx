// One of a few, behind a word that says what is chosen.

import type { ReactNode } from "react";

interface PickProps {
  label: string;
  value: string;
  /** Key and words of each; a value that is none of them is shown as it is. */
  of: (readonly [string, string])[];
  onChange: (value: string) => void;
}

export function Pick({ label, value, of, onChange }: PickProps): ReactNode {
  return (
    <label className="row">
      <span className="muted">{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {!of.some(([key]) => key === value) && <option value={value}>{value}</option>}
        {of.map(([key, words]) => (
          <option key={key} value={key}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}
