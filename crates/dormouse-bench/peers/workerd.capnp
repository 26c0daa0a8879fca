using Workerd = import "/workerd/workerd.capnp";

# The address and the folder are given on the command line: --socket-addr, --directory-path.
const config :Workerd.Config = (
  services = [
    (name = "front", worker = .front),
    (name = "objects", disk = (writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "front")],
);

const front :Workerd.Worker = (
  # Recent enough that the runtime answers a close frame by itself.
  compatibilityDate = "2026-10-01",
  modules = [
    (name = "workerd.mjs", esModule = embed "workerd.mjs"),
    (name = "counter.mjs", esModule = embed "counter.mjs"),
  ],
  durableObjectNamespaces = [
    (className = "Counter", uniqueKey = "dormouse-bench-counter", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [(name = "COUNTER", durableObjectNamespace = "Counter")],
);
