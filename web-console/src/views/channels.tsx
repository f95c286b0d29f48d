// The channels that alerts tell: where they go, a try of each, and their secrets, which are written and never read.

import { useState, type ReactNode } from "react";
import { deleteChannel, putChannel, testChannel, type Alert, type Channel, type KnownChannel } from "../api/alerts";
import { asApiError, type ApiError } from "../api/error";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { Icon } from "../parts/icon";
import { Plain } from "../parts/plain";
import { Empty, Failed } from "../parts/state";
import { Badge, Name } from "../parts/text";
import { CHANNEL_KINDS, channelText } from "./alerting";

type Outcome = { ok: boolean; error: string | null } | "trying";

interface ChannelsProps {
  all: KnownChannel[];
  used: Alert[];
  /** Which one is being changed, or made. */
  editing: KnownChannel | "new" | null;
  onEdit: (channel: KnownChannel | "new" | null) => void;
  again: () => void;
}

export function Channels({ all, used, editing, onEdit, again }: ChannelsProps): ReactNode {
  const [question, setQuestion] = useState<Question | null>(null);
  const [outcomes, setOutcomes] = useState<Record<string, Outcome>>({});
  const test = async (name: string): Promise<void> => {
    const settle = (outcome: Outcome): void => setOutcomes((before) => ({ ...before, [name]: outcome }));
    settle("trying");
    settle(await testChannel(name).catch((thrown: unknown) => ({ ok: false, error: asApiError(thrown).message })));
  };
  return (
    <section aria-label="Channels">
      {all.length === 0 ? (
        <Empty title="No channels yet">A channel is where alerts are told: a webhook, a chat, email or a Kafka topic.</Empty>
      ) : (
        <Plain className="channels" heads={["Name", "Kind", "Tells", "Used by", ""]}>
          {all.map((one) => {
            const rules = used.filter((rule) => rule.notify.includes(one.name)).map((rule) => rule.name);
            const outcome = outcomes[one.name];
            return (
              <tr key={one.name}>
                <td>
                  <Name>{one.name}</Name>
                </td>
                <td>{CHANNEL_KINDS.find(([kind]) => kind === one.type)?.[1] ?? one.type}</td>
                <td>
                  <Name mono>{channelText(one)}</Name>
                </td>
                <td>{rules.length === 0 ? <span className="muted">no rule</span> : <Name>{rules.join(", ")}</Name>}</td>
                <td className="number">
                  <span className="row end" role="status">
                    {outcome === "trying" && <span className="muted">sending…</span>}
                    {outcome !== undefined && outcome !== "trying" && (outcome.ok ? <Badge tone="good">it arrived</Badge> : <span className="name" title={outcome.error ?? undefined}><Badge tone="bad">{outcome.error ?? "it did not arrive"}</Badge></span>)}
                    <button type="button" disabled={outcome === "trying"} onClick={() => void test(one.name)}>
                      Send a test
                    </button>
                    <button type="button" onClick={() => onEdit(one)}>
                      Change
                    </button>
                    <button
                      type="button"
                      className="bare"
                      aria-label={`Delete ${one.name}`}
                      disabled={rules.length > 0}
                      title={rules.length > 0 ? "Rules tell it; take it from them first" : "Delete"}
                      onClick={() =>
                        setQuestion({
                          title: `Delete the channel ${one.name}?`,
                          consequence: "No rule tells it. It has to be made anew to come back, with its secrets.",
                          action: "Delete it",
                          grave: true,
                          act: () => deleteChannel(one.name),
                        })
                      }
                    >
                      <Icon name="close" size={15} />
                    </button>
                  </span>
                </td>
              </tr>
            );
          })}
        </Plain>
      )}
      {editing !== null && <Edit channel={editing === "new" ? null : editing} onClose={() => onEdit(null)} onDone={again} />}
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={again} />}
    </section>
  );
}

const FIRST: Record<Channel["type"], Channel> = {
  webhook: { type: "webhook", url: "" },
  slack: { type: "slack", url: "" },
  email: { type: "email", smtp: "smtps://", from: "", to: [] },
  kafka: { type: "kafka", bootstrapServers: "", topic: "" },
};

function Edit({ channel, onClose, onDone }: { channel: KnownChannel | null; onClose: () => void; onDone: () => void }): ReactNode {
  const [name, setName] = useState(channel?.name ?? "");
  const [draft, setDraft] = useState<Channel>(() => {
    if (channel === null) return FIRST.webhook;
    const { name: _, version: __, ...fields } = channel;
    return fields as Channel;
  });
  const [more, setMore] = useState(() => {
    const pairs = draft.type === "kafka" ? draft.consumerProperties : draft.headers;
    return pairs === undefined || pairs === null ? "" : JSON.stringify(pairs, null, 2);
  });
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const set = (change: Record<string, unknown>): void => setDraft((before) => ({ ...before, ...change }));
  const text = (field: string): string => (typeof draft[field] === "string" ? draft[field] : "");
  const pairsName = draft.type === "kafka" ? "consumerProperties" : draft.type === "webhook" ? "headers" : null;
  let pairs: unknown;
  let unread = false;
  try {
    pairs = more.trim() === "" ? undefined : (JSON.parse(more) as unknown);
  } catch {
    unread = true;
  }
  const save = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      // What is left empty is not said.
      const fields = Object.fromEntries(Object.entries(draft).filter(([key, value]) => value !== "" && value !== null && key !== "headers" && key !== "consumerProperties"));
      await putChannel(name.trim(), { ...fields, ...(pairsName === null || pairs === undefined ? {} : { [pairsName]: pairs }) } as Channel, channel?.version ?? null);
      onDone();
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={channel === null ? "New channel" : <>Change <bdi>{channel.name}</bdi></>}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Not now
          </button>
          <button type="button" className="primary" disabled={busy || unread || name.trim() === ""} onClick={() => void save()}>
            {channel === null ? "Make the channel" : "Save"}
          </button>
        </>
      }
    >
      <div className="pair">
        <label className="field">
          <span>Name</span>
          <input value={name} maxLength={128} readOnly={channel !== null} onChange={(event) => setName(event.target.value)} autoComplete="off" spellCheck={false} data-first />
        </label>
        <label className="field">
          <span>Kind</span>
          <select
            value={draft.type}
            onChange={(event) => {
              setDraft(FIRST[event.target.value as Channel["type"]]);
              setMore("");
            }}
          >
            {CHANNEL_KINDS.map(([kind, title]) => (
              <option key={kind} value={kind}>
                {title}
              </option>
            ))}
          </select>
        </label>
      </div>
      {(draft.type === "webhook" || draft.type === "slack") && (
        <Secret label="Address" value={draft.url} onChange={(url) => set({ url })} placeholder="https://…" hint={draft.type === "slack" ? "The address that the chat gave for incoming messages; who has it can write there." : undefined} />
      )}
      {draft.type === "email" && (
        <>
          <label className="field">
            <span>Mail server</span>
            <input value={text("smtp")} onChange={(event) => set({ smtp: event.target.value })} placeholder="smtps://mail.example.com:465" autoComplete="off" spellCheck={false} />
          </label>
          <div className="pair">
            <label className="field">
              <span>Signs in as</span>
              <input value={text("user")} onChange={(event) => set({ user: event.target.value })} placeholder="if it wants that" autoComplete="off" spellCheck={false} />
            </label>
            <Secret label="Password" hidden value={draft.password} onChange={(password) => set({ password })} />
          </div>
          <label className="field">
            <span>From</span>
            <input value={text("from")} onChange={(event) => set({ from: event.target.value })} autoComplete="off" spellCheck={false} />
          </label>
          <label className="field">
            <span>To, with commas between</span>
            <input
              defaultValue={Array.isArray(draft.to) ? draft.to.join(", ") : ""}
              onChange={(event) => set({ to: event.target.value.split(",").map((one) => one.trim()).filter((one) => one !== "") })}
              autoComplete="off"
              spellCheck={false}
            />
          </label>
        </>
      )}
      {draft.type === "kafka" && (
        <div className="pair">
          <label className="field">
            <span>Brokers</span>
            <input value={text("bootstrapServers")} onChange={(event) => set({ bootstrapServers: event.target.value })} placeholder="kafka:9092" autoComplete="off" spellCheck={false} />
          </label>
          <label className="field">
            <span>Topic</span>
            <input value={text("topic")} onChange={(event) => set({ topic: event.target.value })} autoComplete="off" spellCheck={false} />
          </label>
        </div>
      )}
      {pairsName !== null && (
        <label className="field">
          <span>{draft.type === "kafka" ? "Properties of the connection, as JSON" : "Headers, as JSON"}</span>
          <textarea rows={3} value={more} onChange={(event) => setMore(event.target.value)} spellCheck={false} placeholder={draft.type === "kafka" ? '{"security.protocol": "SASL_SSL"}' : '{"Authorization": "Bearer …"}'} />
          <small>{unread ? "This is not JSON yet." : "What is a secret is shown as ***, and stays as it is if it is left so."}</small>
        </label>
      )}
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}

/** Text, or where the server finds it: a secret need not be written here. */
function Secret({ label, value, onChange, placeholder, hint, hidden = false }: { label: string; value: unknown; onChange: (value: unknown) => void; placeholder?: string; hint?: string; hidden?: boolean }): ReactNode {
  const elsewhere = typeof value === "object" && value !== null;
  const variable = elsewhere && "variable" in value ? String(value.variable) : "";
  return (
    <label className="field">
      <span>{elsewhere ? `${label}: variable of the server's environment` : label}</span>
      {elsewhere ? (
        <input value={variable} onChange={(event) => onChange({ type: "environment", variable: event.target.value })} autoComplete="off" spellCheck={false} />
      ) : (
        <input type={hidden ? "password" : "text"} value={typeof value === "string" ? value : ""} onChange={(event) => onChange(event.target.value)} placeholder={placeholder} autoComplete="new-password" spellCheck={false} />
      )}
      <small>
        {hint !== undefined && `${hint} `}
        <button type="button" className="link" onClick={() => onChange(elsewhere ? "" : { type: "environment", variable: "" })}>
          {elsewhere ? "Write it here instead" : "Take it from the server’s environment"}
        </button>
      </small>
    </label>
  );
}
