#!/bin/sh
# What Cloudflare needs to enforce the verdicts of offpath: two lists in the account, and in
# each zone a custom rule that refuses whom the one has and the other has not. Run it once,
# with a token that may do so; what is there already stays.
#
# NOTE: Cloudflare keeps no expiry of a verdict: it ends when offpath takes it out of the list.
# While no offpath runs, what is blocked stays blocked until {{.Hours}} hours after the last time that
# offpath, once an hour, wrote so into the rule: then it ends all together. See 4.
#
#  1. A token for offpath (My Profile, API Tokens, Create Custom Token), limited to the
#     account and the zones:
#         Account | Account Filter Lists | Edit
#         Zone    | Zone WAF             | Edit
#     Cloudflare limits the requests of a user, not of a token: best is a user of offpath's
#     own. In offpath's configuration:
#         mitigate:
#           targets:
#             - name: {{.Name}}
#               type: cloudflare
#               account: {{.Account}}
#               zones: [{{range $i, $z := .Zones}}{{if $i}}, {{end}}{{$z}}{{end}}]
#               token: file:/etc/offpath/cloudflare-token
#     Let one target, of one offpath, write in an account: Cloudflare carries out one change
#     of its lists at a time.
#  2. Two lists need a plan that has more than one (Pro or more). An account has 10,000 items
#     for all of its lists, with Enterprise more; offpath takes up to {{.Capacity}} for verdicts
#     (capacity) and 1,000 for the allow-list. Items with other comments than offpath's are
#     yours: in offpath_allow they are never refused, in offpath_block always.
#  3. Trust Cloudflare's networks (https://www.cloudflare.com/ips/) in client.trusted_proxies,
#     so that offpath sees who the client is, and not which edge it came by.
#  4. Kill switch at Cloudflare: disable the rule, in the dashboard or by
#         curl -X PATCH …/zones/ZONE/rulesets/RULESET/rules/RULE
#     with the rule as it is and "enabled": false. offpath leaves it so until `offpath on`.
#     Where no offpath runs, this ends everything at once, and is what an alarm about an
#     offpath that is gone should do: `sh THIS-FILE off`.
#
# The rule may be narrowed, such as by `and http.host eq "api.example.com"`; it has to keep
# its ref, the action block, both conditions on lists and that on the time. Of these offpath
# writes the number of the time, the description, and whether it is enabled: who keeps rules by
# Terraform has it ignore changes of expression, description and enabled. Let the rule stand
# first: one before it that skips others lets clients past.

set -eu
: "${CLOUDFLARE_API_TOKEN:?is not set: a token that may edit account filter lists and the zones’ WAF}"
api={{.Address}}
account={{.Account}}
zones='{{range $i, $z := .Zones}}{{if $i}} {{end}}{{$z}}{{end}}'

call() { # METHOD PATH [BODY]
    # The token comes by a pipe: arguments can be seen by every user of the machine.
    printf 'header = "Authorization: Bearer %s"\n' "$CLOUDFLARE_API_TOKEN" |
        curl --config - --silent --show-error --request "$1" --header 'Content-Type: application/json' ${3:+--data "$3"} "$api$2"
}
sure() { # an answer that is no success ends this
    printf '%s' "$1" | jq --exit-status .success >/dev/null || { printf '%s\n' "$1" >&2; exit 1; }
}

off() { # ZONE
    rules=$(call GET "/zones/$1/rulesets/phases/http_request_firewall_custom/entrypoint")
    sure "$rules"
    ruleset=$(printf '%s' "$rules" | jq --raw-output .result.id)
    rule=$(printf '%s' "$rules" | jq --compact-output \
        '[.result.rules[] | select(.ref == "{{.Ref}}")] + [.result.rules[] | select(.expression | contains("{{.InBlock}}"))] | .[0]')
    id=$(printf '%s' "$rule" | jq --raw-output .id)
    sure "$(call PATCH "/zones/$1/rulesets/$ruleset/rules/$id" \
        "$(printf '%s' "$rule" | jq 'del(.id, .version, .last_updated, .categories) | .enabled = false')")"
    echo "zone $1: nothing is refused"
}

if [ "${1:-}" = off ]; then
    failed=0
    for zone in $zones; do
        (off "$zone") || failed=1 # the others are off all the same
    done
    exit $failed
fi

lists=$(call GET "/accounts/$account/rules/lists")
sure "$lists"
for list in {{.Block}} {{.Allow}}; do
    printf '%s' "$lists" | jq --exit-status ".result[] | select(.name == \"$list\")" >/dev/null ||
        sure "$(call POST "/accounts/$account/rules/lists" "{\"name\": \"$list\", \"kind\": \"ip\", \"description\": \"offpath writes items here\"}")"
done

rule='{
    "ref": "{{.Ref}}",
    "description": "{{.Off}}",
    "enabled": false,
    "action": "block",
    "expression": "({{.Expression}})"
}'
for zone in $zones; do
    rules=$(call GET "/zones/$zone/rulesets/phases/http_request_firewall_custom/entrypoint")
    if printf '%s' "$rules" | jq --exit-status '.result.rules[]? | select(.ref == "{{.Ref}}")' >/dev/null; then
        echo "zone $zone: has the rule"
        continue
    elif printf '%s' "$rules" | jq --exit-status .success >/dev/null; then
        ruleset=$(printf '%s' "$rules" | jq --raw-output .result.id)
        sure "$(call POST "/zones/$zone/rulesets/$ruleset/rules" "$(printf '%s' "$rule" | jq '.position = {"before": ""}')")"
    else
        sure "$(call POST "/zones/$zone/rulesets" "{\"name\": \"default\", \"kind\": \"zone\", \"phase\": \"http_request_firewall_custom\", \"rules\": [$rule]}")"
    fi
    echo "zone $zone: the rule is there; it refuses nobody until offpath's mitigate.mode is enforce"
done
