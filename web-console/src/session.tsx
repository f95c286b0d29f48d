// Who is signed in, for the whole page: asks at the start, shows the sign-in where the server wants one, and when a session ends
// in the midst of work lays the sign-in over the page and lets what waited go on.

import { createContext, useContext, useEffect, useLayoutEffect, useRef, useState, type FormEvent, type ReactNode } from "react";
import { holdToken, whenSignedOut } from "./api/client";
import { asApiError, type ApiError } from "./api/error";
import { signIn, signOut, whoAmI, type Who } from "./api/session";
import { Dialog } from "./parts/dialog";
import { Mark } from "./parts/icon";
import { Failed, Loading } from "./parts/state";
import { follow } from "./settings";

const Session = createContext<{ who: Who; leave: () => Promise<void> } | null>(null);

export function useSession(): { who: Who; leave: () => Promise<void> } {
  const session = useContext(Session);
  if (session === null) throw new Error("only below SessionGate");
  return session;
}

type State = { is: "asking" } | { is: "failed"; error: ApiError } | { is: "nobody" } | { is: "somebody"; who: Who };

export function SessionGate({ children }: { children: ReactNode }): ReactNode {
  const [state, setState] = useState<State>({ is: "asking" });
  const [ended, setEnded] = useState(false);
  const waiting = useRef<((again: boolean) => void)[]>([]);
  const [attempt, setAttempt] = useState(0);
  const [stays, setStays] = useState<ApiError | null>(null);

  useEffect(() => {
    const stop = new AbortController();
    whoAmI(stop.signal).then(
      (who) => setState(who === null ? { is: "nobody" } : { is: "somebody", who }),
      (thrown) => {
        const error = asApiError(thrown);
        if (error.kind !== "cancelled") setState({ is: "failed", error });
      },
    );
    return () => stop.abort();
  }, [attempt]);

  useEffect(() => {
    if (state.is !== "somebody") return;
    whenSignedOut(
      () =>
        new Promise((resolve) => {
          waiting.current.push(resolve);
          setEnded(true);
        }),
    );
    return () => whenSignedOut(null);
  }, [state.is]);

  // Who came by name and password has settings of their own.
  const person = state.is === "somebody" && state.who.how === "session" ? state.who.username : null;
  useEffect(() => void follow(person !== null), [person]);

  const release = (again: boolean): void => {
    for (const resolve of waiting.current.splice(0)) resolve(again);
    setEnded(false);
  };

  if (state.is === "asking") return <Loading what="Asking who you are" />;
  if (state.is === "failed") {
    return (
      <main className="alone">
        <Failed error={state.error} retry={() => setAttempt(attempt + 1)} />
      </main>
    );
  }
  if (state.is === "nobody") {
    return (
      <main className="alone">
        <SignIn onDone={(who) => setState({ is: "somebody", who })} />
      </main>
    );
  }
  const leave = async (): Promise<void> => {
    try {
      await signOut();
    } catch (thrown) {
      const error = asApiError(thrown);
      // Who is not told that the session has ended may still have it, and must not be shown otherwise.
      if (error.kind !== "signed-out") return setStays(error);
    }
    whenSignedOut(null);
    release(false);
    holdToken(null);
    setState({ is: "nobody" });
  };
  return (
    <Session value={{ who: state.who, leave }}>
      {children}
      {stays !== null && (
        <Dialog title="You are still signed in" onClose={() => setStays(null)}>
          <Failed error={stays} retry={() => void leave().then(() => setStays(null))} />
        </Dialog>
      )}
      {ended && (
        <Ended
          name={state.who.username}
          onDone={(who) => {
            if (who.username !== state.who.username) {
              // What one person had on the page is not another's.
              window.location.reload();
              return;
            }
            setState({ is: "somebody", who });
            release(true);
          }}
        />
      )}
    </Session>
  );
}

function Ended({ name, onDone }: { name: string; onDone: (who: Who) => void }): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    // The name is known; the password is what is asked for.
    shown?.querySelector<HTMLInputElement>('input[type="password"]')?.focus();
    return () => shown?.close();
  }, []);
  return (
    <dialog ref={dialog} className="dialog centre narrow" aria-label="Sign in again" onCancel={(event) => event.preventDefault()}>
      <SignIn name={name} onDone={onDone} />
    </dialog>
  );
}

function SignIn({ name, onDone }: { name?: string; onDone: (who: Who) => void }): ReactNode {
  const [username, setUsername] = useState(name ?? "");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      onDone(await signIn(username, password));
    } catch (thrown) {
      setError(asApiError(thrown));
    }
    setPassword("");
    setBusy(false);
  };
  return (
    <form className="sign-in" onSubmit={(event) => void submit(event)}>
      <div className="brand">
        <Mark size={36} />
        <div>
          <h1>{name === undefined ? "Sign in to Henge" : "Your session has ended"}</h1>
          {name !== undefined && <p className="muted">Sign in again to go on; nothing on the page is lost.</p>}
        </div>
      </div>
      <label className="field">
        <span>Name</span>
        <input name="username" autoComplete="username" value={username} onChange={(event) => setUsername(event.target.value)} autoFocus={name === undefined} required spellCheck={false} />
      </label>
      <label className="field">
        <span>Password</span>
        <input name="password" type="password" autoComplete="current-password" value={password} onChange={(event) => setPassword(event.target.value)} autoFocus={name !== undefined} required />
      </label>
      {error !== null &&
        (error.kind === "signed-out" ? (
          <p className="wrong" role="alert">
            The name or the password is wrong.
          </p>
        ) : (
          <Failed error={error} />
        ))}
      <button type="submit" className="primary large" disabled={busy}>
        {busy ? "Signing in…" : "Sign in"}
      </button>
    </form>
  );
}
