/** What went wrong, for programs: the server's codes, and those of this client. */
export type ErrorCode =
  | "PARSE_ERROR"
  | "BAD_REQUEST"
  | "UNAUTHORIZED"
  | "FORBIDDEN"
  | "NOT_FOUND"
  | "METHOD_NOT_SUPPORTED"
  | "TIMEOUT"
  | "CONFLICT"
  | "PRECONDITION_FAILED"
  | "PAYLOAD_TOO_LARGE"
  | "UNSUPPORTED_MEDIA_TYPE"
  | "UNPROCESSABLE_CONTENT"
  | "TOO_MANY_REQUESTS"
  | "INTERNAL_SERVER_ERROR"
  | "SERVICE_UNAVAILABLE"
  /** No answer came in time. */
  | "CALL_TIMEOUT"
  /** Too many calls wait for the connection. */
  | "QUEUE_FULL"
  /** The caller's signal ended the call. */
  | "ABORTED"
  /** The connection was closed, by the server for good or by this client. */
  | "CLOSED"
  /** The connection broke, or the server did not answer as it should. */
  | "CONNECTION_LOST"
  /** The server cannot be reached. */
  | "UNREACHABLE"
  /** An iteration did not keep up with the events. */
  | "OVERRUN";

/** What a {@link DormouseError} carries beside its code. */
export interface ErrorDetails {
  /** What the server said in `error.data`, such as `current` of a CONFLICT; or `closeCode`, or `status`. */
  readonly data?: Readonly<Record<string, unknown>>;
  /** Whether a call may have been applied although it failed. */
  readonly isOutcomeUnknown?: boolean;
  /** What caused it. */
  readonly cause?: unknown;
}

/** Every error of this package. */
export class DormouseError extends Error {
  override readonly name = "DormouseError";
  /** What went wrong, for programs. */
  declare readonly code: ErrorCode;
  /** What the server said in `error.data`, such as `current` of a CONFLICT; or `closeCode`, or `status`. */
  declare readonly data: Readonly<Record<string, unknown>>;
  /** Whether the call may have been applied: it was sent, and no answer came. */
  declare readonly isOutcomeUnknown: boolean;

  /** Makes an error. `message` is for people. */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details);
    this.code = code;
    this.data = details.data ?? {};
    this.isOutcomeUnknown = !!details.isOutcomeUnknown;
  }
}
