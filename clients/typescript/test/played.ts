/** A socket whose server is the test. */
export class PlayedSocket {
  static all: PlayedSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly said: Record<string, unknown>[] = [];
  readonly url: URL;
  isClosed = false;
  readyState = 1;

  constructor(url: string) {
    this.url = new URL(url);
    PlayedSocket.all.push(this);
  }

  send(text: string): void {
    this.said.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.isClosed = true;
    this.readyState = 2;
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  get query(): Record<string, string> {
    return Object.fromEntries(this.url.searchParams);
  }
}
