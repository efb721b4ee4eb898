#!/usr/bin/env bash
# Make the files that web/static/web/vendor/VERSIONS and tests/browser/axe/VERSIONS list.
#
#     scripts/vendor-web.sh            make the files; fail and change nothing if a SHA-256 differs
#     scripts/vendor-web.sh --update   make the files and write their SHA-256 sums into VERSIONS
#
# To change a version: edit VERSIONS, run with --update, then make check-browser.
# Needs npm, tar, GNU sed and sha256sum. Exit status: 0 success, 1 a sum differs or a file is missing, 2 wrong arguments.
set -euo pipefail
export LC_ALL=C

update=false
case "$#:${1-}" in
  0:) ;;
  1:--update) update=true ;;
  *) echo "usage: $0 [--update]" >&2; exit 2 ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack PACKAGE VERSION: unpack the package into $work/node_modules/PACKAGE, once.
unpack() {
  local folder="$work/node_modules/$1" archive
  [[ -d $folder ]] && return
  mkdir -p "$folder"
  archive=$(cd "$folder" && npm pack --silent --ignore-scripts "$1@$2" </dev/null | tail -n 1)
  tar -xzf "$folder/$archive" -C "$folder" --strip-components=1
}

# bundle ENTRY ESBUILD: print the module that exports what the project uses of the packages.
bundle() {
  printf '%s\n' "$1" >"$work/entry.js"
  (cd "$work" && npx --yes "esbuild@$2" entry.js --bundle --minify --format=esm --target=es2022 \
    --legal-comments=none </dev/null)
}

# content PACKAGE VERSION SOURCE NAME: print the file.
content() {
  case $4 in
    preact.js)
      bundle 'export { createContext, render } from "preact";
        export { useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
        import { h } from "preact"; import htm from "htm"; export const html = htm.bind(h);' "$2"
      ;;
    urql.js) bundle 'export { Client, fetchExchange, gql, mapExchange } from "@urql/core";' "$2" ;;
    *) cat "$work/node_modules/$1/$3" ;;
  esac
}

wrong=0
for target in "$root/web/static/web/vendor" "$root/tests/browser/axe"; do
  new="$work/new/$target"
  mkdir -p "$new"
  while read -r package version source name sum; do
    case $package in
      '' | '#'*) continue ;;
    esac
    [[ $package == esbuild ]] || unpack "$package" "$version"
    content "$package" "$version" "$source" "$name" >"$new/$name"
    found=$(sha256sum <"$new/$name" | cut -d ' ' -f 1)
    if [[ $found == "$sum" ]]; then
      continue
    elif $update; then
      sed -i -E "s|^($package +$version +$source +$name +).*|\1$found|" "$target/VERSIONS"
    else
      echo "$name of $package@$version has SHA-256 $found, VERSIONS says $sum" >&2
      wrong=1
    fi
  done < <(cat "$target/VERSIONS")
done

if ((wrong)); then
  exit 1
fi
for target in "$root/web/static/web/vendor" "$root/tests/browser/axe"; do
  cp "$work/new/$target"/* "$target/"
done
