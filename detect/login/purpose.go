package login

import (
	"strings"

	"offpath/detect/endpoint"
)

// purposes are words of what is neither a login nor belongs to one.
var purposes = map[string]Kind{
	"transfer": KindTransfer, "transfers": KindTransfer, "payment": KindTransfer, "payments": KindTransfer, "pay": KindTransfer,
	"payout": KindTransfer, "payouts": KindTransfer, "withdraw": KindTransfer, "withdrawal": KindTransfer, "withdrawals": KindTransfer,
	"remittance": KindTransfer, "remittances": KindTransfer, "wire": KindTransfer, "wires": KindTransfer,

	"payee": KindPayee, "payees": KindPayee, "beneficiary": KindPayee, "beneficiaries": KindPayee, "recipient": KindPayee, "recipients": KindPayee,

	"checkout": KindCheckout, "purchase": KindCheckout, "purchases": KindCheckout,

	"search": KindSearch, "searches": KindSearch, "suggest": KindSearch, "suggestions": KindSearch, "autocomplete": KindSearch, "typeahead": KindSearch,

	"health": KindHealth, "healthz": KindHealth, "healthcheck": KindHealth, "livez": KindHealth, "liveness": KindHealth,
	"readyz": KindHealth, "readiness": KindHealth, "ping": KindHealth, "heartbeat": KindHealth,
}

// reads are words of what looks at something only (getPayments, transfer-history).
var reads = map[string]bool{
	"get": true, "list": true, "find": true, "search": true, "fetch": true, "query": true, "history": true, "status": true, "validate": true,
}

// Purpose is what the words of a path's last segment, or of an operation's name,
// say, of the kinds that have nothing to do with a login. What comes below
// (/payments/methods, /transfers/17) has none: it may be anything; and of two words
// the first decides (payment-search), unless they say that it is only read.
func Purpose(path string) Kind {
	segment := strings.TrimRight(endpoint.Unreserved(path), "/")
	segment = segment[strings.LastIndexByte(segment, '/')+1:]
	segment, _, _ = strings.Cut(segment, ";")
	if len(segment) > 64 {
		return KindNone // an identifier
	}
	var buf [64]byte
	var list [maxWords]string
	kind, read := KindNone, false
	for i, word := range splitWords(list[:0], buf[:0], segment) {
		read = read || reads[word]
		if k := purposes[word]; kind == KindNone && (k != KindHealth || i == 0) { // start-sso.ping is a product's name
			kind = k
		}
	}
	if read && changes(kind) {
		return KindNone
	}
	return kind
}

// changes reports whether what is of a kind changes something, and so is never
// asked for by a safe method (RFC 9110 section 9.2.1).
func changes(k Kind) bool { return k == KindTransfer || k == KindPayee || k == KindCheckout }
