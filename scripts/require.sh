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
