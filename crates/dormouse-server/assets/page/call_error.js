// What a call is answered that is not carried out.

/** A call that was refused, or of which nothing is known. `message` is a sentence for people. */
export class CallError extends Error {
  constructor(message, { code = "UNKNOWN", data = {} } = {}) {
    super(message);
    this.name = "CallError";
    this.code = code;
    this.data = data;
  }
}
