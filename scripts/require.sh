# What the other scripts need from the machine. Sourced, not run.

# Installs Debian packages that are missing, as root or with sudo.
require_packages() {
    local missing=()
    local package
    for package in "$@"; do
        if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed'; then
            missing+=("$package")
        fi
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    echo "installing ${missing[*]} with apt-get"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -q
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# SQLite is compiled from its source.
require_c_compiler() {
    if ! command -v cc >/dev/null 2>&1; then
        require_packages gcc libc6-dev
    fi
}

# The fuzzers' engine is compiled from its source.
require_cxx_compiler() {
    if ! command -v c++ >/dev/null 2>&1; then
        require_packages g++
    fi
}

require_browser() {
    if ! command -v chromium >/dev/null 2>&1; then
        require_packages chromium
    fi
}

# Installs a folder's npm packages, unless they are those of its lock file already.
require_npm_packages() {
    local folder=$1
    if ! cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed-lock.json"; then
        echo "installing npm packages in $folder"
        npm ci --prefix "$folder" --no-audit --no-fund
        cp "$folder/package-lock.json" "$folder/node_modules/.installed-lock.json"
    fi
}

# The TypeScript client, built: pages and tests use it as the package that it is. `vite`, `vitest` and `tsdown` need this Node.
require_client() {
    if ! node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)' 2>/dev/null; then
        echo "error: the TypeScript client needs Node 20.19 or newer; node is $(node --version 2>/dev/null || echo missing)" >&2
        return 1
    fi
    require_npm_packages clients/typescript
    npm run --prefix clients/typescript --silent build -- --logLevel warn
}

# Python, and what a requirements file names, in a virtual environment. Prints nothing if all is there.
require_python_packages() {
    local requirements=$1
    local folder=$2
    if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        require_packages python3 python3-venv
        if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))'; then
            echo "error: the conformance suite needs Python 3.10 or newer with venv; python3 is $(python3 --version)" >&2
            return 1
        fi
    fi
    if ! cmp -s "$requirements" "$folder/installed-requirements.txt"; then
        echo "installing Python packages of $requirements in $folder"
        rm -rf "$folder"
        python3 -m venv "$folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$requirements"
        cp "$requirements" "$folder/installed-requirements.txt"
    fi
}
