#!/usr/bin/env bash
# Fetch the files of GraphiQL that the project carries, as pcf/static/pcf/graphiql/VERSIONS lists them.
#
#     scripts/vendor-graphiql.sh            fetch again; fails, and changes nothing, when a SHA-256 differs
#     scripts/vendor-graphiql.sh --update   fetch and write the new SHA-256 sums into VERSIONS
#
# For another version: change it in VERSIONS, run with --update, look at GET /graphql in a browser (its console must
# stay free of Content-Security-Policy errors) and see whether LICENSE.bundled.txt still names what is bundled.
# Needs npm, tar, GNU sed and sha256sum. Exit status: 0 done, 1 a sum differs or a file is missing, 2 wrong arguments.
set -euo pipefail
export LC_ALL=C

update=false
case "$#:${1-}" in
  0:) ;;
  1:--update) update=true ;;
  *) echo "usage: $0 [--update]" >&2; exit 2 ;;
esac

target=$(cd "$(dirname "$0")/../pcf/static/pcf/graphiql" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/new"

# unpack PACKAGE VERSION: lay the package out in $work/PACKAGE-VERSION, once.
unpack() {
  local folder="$work/$1-$2" archive
  [[ -d $folder ]] && return
  mkdir "$folder"
  archive=$(cd "$folder" && npm pack --silent --ignore-scripts "$1@$2" </dev/null | tail -n 1)
  tar -xzf "$folder/$archive" -C "$folder" --strip-components=1
}

# adapt FILE: drop what this project does not ship.
adapt() {
  case $1 in
    *.js) sed '/^\/\/# sourceMappingURL=/d' "$1" ;;
    *.css) sed -e 's/@font-face{[^}]*}//g' -e 's/\/\*# sourceMappingURL=[^*]*\*\///g' "$1" ;;
    *) cat "$1" ;;
  esac
}

wrong=0
while read -r package version source name sum; do
  case $package in
    '' | '#'*) continue ;;
  esac
  unpack "$package" "$version"
  adapt "$work/$package-$version/$source" >"$work/new/$name"
  found=$(sha256sum <"$work/new/$name" | cut -d ' ' -f 1)
  if [[ $found == "$sum" ]]; then
    continue
  elif $update; then
    sed -i -E "s|^($package +$version +$source +$name +).*|\1$found|" "$target/VERSIONS"
  else
    echo "$name of $package@$version has SHA-256 $found, VERSIONS says $sum" >&2
    wrong=1
  fi
done < <(cat "$target/VERSIONS")

if ((wrong)); then
  exit 1
fi
cp "$work"/new/* "$target/"
