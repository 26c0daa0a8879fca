// Every version that a note ever had.

import { useInfiniteQuery, useMutation } from "@tanstack/react-query";

import { queries } from "../dormouse";
import { useToast } from "../toasts";
import { sentence, when } from "../words";

const PAGE_VERSIONS = 10;

export function NoteHistory({ id, current }: { id: string; current: number }) {
  const { data, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(
    queries.pages("note", id, "history", { limit: PAGE_VERSIONS }),
  );
  const toast = useToast();
  const revert = useMutation(queries.mutation("note", id, "revert"));
  const versions = data?.pages.flatMap((page) => page.versions) ?? [];
  return (
    <section className="versions" aria-label="Versions">
      <h3>Versions</h3>
      <ol data-testid="versions">
        {versions.map(({ version, title, blob, updatedAt }) => (
          <li key={version} data-version={version}>
            <details>
              <summary>
                <span className="number">v{version}</span>
                <span className="text">{title || "Untitled"}</span>
                <time className="soft" dateTime={updatedAt}>
                  {when(updatedAt)}
                </time>
              </summary>
              <pre>{blob || "(no text)"}</pre>
            </details>
            {version === current ? (
              <span className="current">current</span>
            ) : (
              <button
                type="button"
                className="link"
                data-testid="revert"
                onClick={() => revert.mutate({ version }, { onError: (error) => toast(sentence(error), true) })}
              >
                Revert
              </button>
            )}
          </li>
        ))}
      </ol>
      {hasNextPage && (
        <button type="button" className="link" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          Older
        </button>
      )}
    </section>
  );
}
