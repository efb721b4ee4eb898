#!/usr/bin/env bash
# Fetch the files of GraphiQL that pcf/static/pcf/graphiql/VERSIONS lists.
#
#     scripts/vendor-graphiql.sh            fetch the files; fail and change nothing if a SHA-256 differs
#     scripts/vendor-graphiql.sh --update   fetch the files and write their SHA-256 sums into VERSIONS
#
# To change a version: edit VERSIONS, run with --update, open GET /graphql in a browser (its console must show no
# Content-Security-Policy errors), and check that LICENSE.bundled.txt names all bundled packages.
# Needs npm, tar, GNU sed and sha256sum. Exit status: 0 success, 1 a sum differs or a file is missing, 2 wrong arguments.
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

# unpack PACKAGE VERSION: unpack the package into $work/PACKAGE-VERSION, once.
unpack() {
  local folder="$work/$1-$2" archive
  [[ -d $folder ]] && return
  mkdir "$folder"
  archive=$(cd "$folder" && npm pack --silent --ignore-scripts "$1@$2" </dev/null | tail -n 1)
  tar -xzf "$folder/$archive" -C "$folder" --strip-components=1
}

# adapt FILE: print the file without references to files that the project does not ship.
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
