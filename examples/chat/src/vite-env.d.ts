interface ImportMetaEnv {
  /** Where the server is; port 8094 of this page's host if left out. */
  readonly VITE_SERVER_URL?: string;
}
