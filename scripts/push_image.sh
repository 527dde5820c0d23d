#!/usr/bin/env bash
# Build the image, push it to Amazon ECR, and print the image_uri for an estimator, by digest.
#
#   push_image.sh [OPTION…] [-- ARGUMENT OF DOCKER BUILDX BUILD…]
#
#   --region REGION        default: AWS_REGION, AWS_DEFAULT_REGION, or what `aws configure` knows
#   --repository NAME      default: treering; created when it is missing
#   --tag TAG              default: the version, with -gpu behind it where XGBOOST=gpu
#   --registry ADDRESS     default: ACCOUNT.dkr.ecr.REGION.amazonaws.com of the account that you are
#   --dry-run              print the commands instead of running them
#
# It needs docker with buildx, the AWS command line, and the permissions that docs/push.md lists.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "push: $*" >&2; }
fail() {
  say "$*"
  exit 1
}
usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' scripts/push_image.sh; }

region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}} repository=treering tag='' registry='' dry_run=false
while (($#)); do
  case $1 in
    --region | --repository | --tag | --registry)
      (($# > 1)) || fail "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    --dry-run) dry_run=true && shift ;;
    --help | -h) usage && exit ;;
    --) shift && break ;;
    *) fail "unknown option $1; push_image.sh --help lists them" ;;
  esac
done

# Run a command, or only print it. Stdout is for the image_uri.
run() {
  if $dry_run; then
    printf '%q ' "$@" && echo
  else
    "$@" >&2
  fi
}

if ! $dry_run; then
  for tool in aws docker; do command -v $tool >/dev/null || fail "there is no $tool command; docs/push.md says what is needed"; done
  [[ -n $region ]] || region=$(aws configure get region) || fail "no region: give --region, or set AWS_REGION"
fi
if [[ -z $registry ]]; then
  account=ACCOUNT # in a dry run, which asks nobody
  if ! $dry_run; then account=$(aws sts get-caller-identity --query Account --output text); fi
  domain=amazonaws.com
  if [[ $region == cn-* ]]; then domain+=.cn; fi
  registry=$account.dkr.ecr.${region:-REGION}.$domain
fi
if [[ -z $tag ]]; then
  tag=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' container/treering/__init__.py)
  if [[ ${XGBOOST:-cpu} != cpu ]]; then tag+=-$XGBOOST; fi
fi
readonly ECR=(aws ecr --region "${region:-REGION}") NAME=$registry/$repository

if $dry_run || ! "${ECR[@]}" describe-repositories --repository-names "$repository" >/dev/null 2>&1; then
  if $dry_run; then echo "# if the repository is missing:"; fi
  run "${ECR[@]}" create-repository --repository-name "$repository" --image-scanning-configuration scanOnPush=true
fi

login=(docker login --username AWS --password-stdin "$registry")
if $dry_run; then
  echo "${ECR[*]} get-login-password | ${login[*]}"
else
  "${ECR[@]}" get-login-password | "${login[@]}" >&2
fi

# SageMaker's hosts are amd64, and it takes no image index: build_image.sh leaves provenance records out.
run scripts/build_image.sh "$NAME:$tag" --platform linux/amd64 "$@"
run docker push "$NAME:$tag"

if $dry_run; then
  echo "# image_uri: $NAME@sha256:…"
  exit
fi
digests=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$NAME:$tag")
digest=$(grep -m 1 -F "$NAME@" <<<"$digests") || fail "$NAME:$tag is pushed, but docker knows no digest of it"
say "pushed $NAME:$tag; name this as image_uri:"
echo "$digest"
