// One's own password and API tokens.

import { useState, type FormEvent, type ReactNode } from "react";
import { changePassword, makeToken, ownTokens, revokeToken } from "../api/security";
import { asApiError, type ApiError } from "../api/error";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { useLive } from "../parts/live";
import { Plain } from "../parts/plain";
import { Empty, Failed, Shown } from "../parts/state";
import { Instant, Name } from "../parts/text";
import { useSession } from "../session";
import { Head } from "../shell";

export default function Me(): ReactNode {
  const { who } = useSession();
  return (
    <div className="page">
      <Head title={<bdi>{who.username}</bdi>} about={`Roles: ${who.roles.join(", ") || "none"}`} />
      {who.authenticated ? (
        <div className="columns">
          <Tokens />
          {who.how === "session" && <Password />}
        </div>
      ) : (
        <Empty title="Nobody is signed in">This server asks for no credentials from this machine.</Empty>
      )}
    </div>
  );
}

function Tokens(): ReactNode {
  const live = useLive(ownTokens, []);
  const [question, setQuestion] = useState<Question | null>(null);
  const [making, setMaking] = useState(false);
  return (
    <section className="panel" aria-label="API tokens">
      <header>
        <h2 className="grow">API tokens</h2>
        <button type="button" onClick={() => setMaking(true)}>
          New token
        </button>
      </header>
      <Shown live={live}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="No tokens">A token lets a program act as you, without your password.</Empty>
          ) : (
            <Plain heads={["For", "Made", "Ends", ""]}>
              {all.map((token) => (
                <tr key={token.id}>
                  <td>
                    <Name>{token.label || token.id}</Name>
                  </td>
                  <td>
                    <Instant at={token.created} />
                  </td>
                  <td>{token.expires === null ? "never" : <Instant at={token.expires} />}</td>
                  <td className="number">
                    <button type="button" className="link" onClick={() => setQuestion({ title: `Revoke ${token.label || token.id}?`, consequence: "Whatever uses it is refused from its next request on.", action: "Revoke it", grave: true, act: () => revokeToken(token.id) })}>
                      Revoke…
                    </button>
                  </td>
                </tr>
              ))}
            </Plain>
          )
        }
      </Shown>
      {making && <NewToken onClose={() => setMaking(false)} onDone={live.refresh} />}
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={live.refresh} />}
    </section>
  );
}

function NewToken({ onClose, onDone }: { onClose: () => void; onDone: () => void }): ReactNode {
  const [label, setLabel] = useState("");
  const [days, setDays] = useState(90);
  const [made, setMade] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const make = async (): Promise<void> => {
    try {
      const { token } = await makeToken(label, days === 0 ? null : new Date(Date.now() + days * 86_400_000).toISOString());
      setMade(token);
      onDone();
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  return (
    <Dialog
      title="New API token"
      onClose={onClose}
      foot={
        made === null ? (
          <button type="button" className="primary" disabled={label.trim() === ""} onClick={() => void make()}>
            Make it
          </button>
        ) : (
          <button type="button" className="primary" onClick={onClose}>
            I have it
          </button>
        )
      }
    >
      {made === null ? (
        <div className="pair">
          <label className="field">
            <span>What for</span>
            <input value={label} onChange={(event) => setLabel(event.target.value)} placeholder="nightly report" data-first />
          </label>
          <label className="field">
            <span>Ends after</span>
            <select value={days} onChange={(event) => setDays(Number(event.target.value))}>
              <option value={7}>7 days</option>
              <option value={90}>90 days</option>
              <option value={365}>a year</option>
              <option value={0}>never</option>
            </select>
          </label>
        </div>
      ) : (
        <>
          <p>This is told once. Keep it where secrets are kept.</p>
          <pre className="document">{made}</pre>
        </>
      )}
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}

function Password(): ReactNode {
  const { leave } = useSession();
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setError(null);
    try {
      await changePassword(current, next);
      // All sessions have ended with the old password, this one too.
      await leave();
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  return (
    <section className="panel" aria-label="Password">
      <header>
        <h2>Password</h2>
      </header>
      <form className="inside" style={{ display: "grid", gap: 12 }} onSubmit={(event) => void submit(event)}>
        <label className="field">
          <span>Current password</span>
          <input type="password" autoComplete="current-password" required value={current} onChange={(event) => setCurrent(event.target.value)} />
        </label>
        <label className="field">
          <span>New password</span>
          <input type="password" autoComplete="new-password" required minLength={12} value={next} onChange={(event) => setNext(event.target.value)} />
          <small>Changing it ends all of your sessions, this one too.</small>
        </label>
        {error !== null && <Failed error={error} />}
        <div>
          <button type="submit" className="primary">
            Change it
          </button>
        </div>
      </form>
    </section>
  );
}
