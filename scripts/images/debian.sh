# shellcheck shell=bash
# Debian trees and packages, from the sources that this machine's own apt uses.
# Source it after lib.sh.

# apt_sources prints the file with the machine's Debian sources: no mirror is
# named in this repository. Other files there (of other vendors) are left out.
apt_sources() {
  local file
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if [[ -s $file ]] && grep -Eq '^(deb|Types:)' "$file"; then
      printf '%s\n' "$file"
      return
    fi
  done
  die "no Debian sources in /etc/apt/sources.list.d/debian.sources or /etc/apt/sources.list"
}

# apt_lists fetches the package lists when there are none or they are a day old.
# `apt_lists now` fetches them in any case.
apt_lists() {
  local stamp=/var/lib/apt/lists/gantry-stamp
  if [[ ${1:-} != now && -n $(find "$stamp" -mtime -1 2>/dev/null) ]] &&
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    return
  fi
  retry apt-get -q update -o Acquire::Retries=3
  touch "$stamp"
}

# fresh COMMAND… : a package that is not found any more has a successor, which
# new lists name.
fresh() { "$@" || { apt_lists now && "$@"; }; }

# bootstrap ARCHITECTURES ROOT [MMDEBSTRAP-ARGUMENT…] makes a Debian tree for
# programs to run in: no manuals, no translations.
bootstrap() {
  local architectures=$1 root=$2
  shift 2
  discard "$root" # of a first try
  # Debian's own python and perl only: a version manager's would come first.
  PATH=/usr/sbin:/usr/bin:/sbin:/bin SOURCE_DATE_EPOCH=$GANTRY_EPOCH mmdebstrap --quiet --mode=root --variant=minbase \
    --architectures="$architectures" \
    --aptopt='Acquire::Retries "3"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='force-unsafe-io' \
    "$@" bookworm "$root" "$(apt_sources)"
}

# apt_of ARCH sets the array APT to an apt-get that sees that architecture's
# packages. For a foreign one it has its own state: the machine's stays as it is.
apt_of() {
  local state=$GANTRY_CACHE/apt/$1
  # apt would give up its rights to a user who may not write here.
  APT=(apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root)
  [[ $1 != "$(dpkg --print-architecture)" ]] || return 0
  mkdir -p "$state"/{lists,cache}
  touch "$state/status"
  APT+=(-o "APT::Architecture=$1" -o "APT::Architectures=$1" -o Acquire::Languages=none
    -o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
    -o "Dir::Etc::sourcelist=$(apt_sources)" -o Dir::Etc::sourceparts=/dev/null)
}

# download ARCH DIRECTORY PACKAGE… fetches those packages, and nothing that they
# depend on; nothing is installed.
download() {
  local arch=$1 directory=$2
  shift 2
  mkdir -p "$directory"
  apt_of "$arch"
  case $arch in
    "$(dpkg --print-architecture)") apt_lists ;;
    *) retry "${APT[@]}" update ;;
  esac
  # Many small files: four at a time, as a name is looked up for each.
  (cd "$directory" && printf '%s\n' "$@" | xargs -n 100 -P 4 "${APT[@]}" download)
}
