import { Banner, ConnectionDot } from "./connection";
import { CountersPage } from "./counters/page";
import { NotesPage } from "./notes/page";
import { useRoute } from "./route";

export function App() {
  const route = useRoute();
  return (
    <>
      <header className="top">
        <a className="brand" href="#/counters">
          <img src="/dormouse.svg" alt="" width="40" height="34" />
          <span>Two tabs</span>
        </a>
        <nav className="pages" aria-label="Pages">
          <PageLink href="#/counters" isCurrent={route.page === "counters"}>
            Counters
          </PageLink>
          <PageLink href="#/notes" isCurrent={route.page === "notes"}>
            Notes
          </PageLink>
        </nav>
        <ConnectionDot />
        <a
          className="button quiet second-tab"
          href={location.href}
          target="_blank"
          rel="noopener"
          onPointerDown={pointHere}
        >
          Open a second tab
        </a>
      </header>
      <Banner />
      <main>{route.page === "counters" ? <CountersPage /> : <NotesPage noteId={route.noteId} />}</main>
    </>
  );
}

/** The address changes without the link being rendered again. */
function pointHere({ currentTarget }: { currentTarget: HTMLAnchorElement }): void {
  currentTarget.href = location.href;
}

function PageLink({ href, isCurrent, children }: { href: string; isCurrent: boolean; children: string }) {
  return (
    <a href={href} aria-current={isCurrent ? "page" : undefined}>
      {children}
    </a>
  );
}
