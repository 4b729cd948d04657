package content

// octetKind is what an octet is to plainTarget.
type octetKind uint8

const (
	octetPlain octetKind = iota
	octetDigit
	octetBetween // may stand between the digits of a card number
	octetQuery   // begins the query
	octetEquals
	octetPair  // ends a pair of the query
	octetOther // may hide, begin or delimit something; looked at elsewhere
)

var octetKinds = func() (t [256]octetKind) {
	for c := byte('0'); c <= '9'; c++ {
		t[c] = octetDigit
	}
	t['-'], t['?'], t['='], t['&'] = octetBetween, octetQuery, octetEquals, octetPair
	for _, c := range []byte("%;#@+, ") {
		t[c] = octetOther
	}
	return t
}()

// plainTarget reports whether a request-target, as nearly all are, is in
// origin-form with nothing in it that [Extractor.appendRedacted] could hide: no
// name of a secret before an equals sign, no run of digits as long as a card
// number, no octet by which either could stand there in disguise. bare says that
// the query holds no name that means anything to [credentials] either.
func (e *Extractor) plainTarget(target []byte) (plain, bare bool) {
	if len(target) == 0 || target[0] != '/' || len(target) > 1 && target[1] == '/' {
		return false, false
	}
	i, digits := 1, 0
	for ; i < len(target); i++ {
		kind := octetKinds[target[i]]
		if kind == octetPlain {
			digits = 0
			continue
		}
		if kind == octetDigit {
			if digits++; digits >= minCard {
				return false, false
			}
		} else if kind == octetQuery {
			break
		} else if kind != octetBetween && kind != octetPair {
			return false, false
		}
	}
	return e.plainQuery(target[min(i+1, len(target)):])
}

// plainQuery is plainTarget of a query.
func (e *Extractor) plainQuery(query []byte) (plain, bare bool) {
	bare = true
	start, named, digits := 0, false, 0 // of the pair at hand
	for i := 0; i <= len(query); i++ {
		kind := octetPair
		if i < len(query) {
			kind = octetKinds[query[i]]
		}
		switch kind {
		case octetPlain:
			if query[i] == '/' {
				return false, false
			}
			digits = 0
		case octetDigit:
			if digits++; digits >= minCard {
				return false, false
			}
		case octetBetween:
		case octetEquals, octetPair:
			digits = 0
			if !named && i > start {
				name := query[start:i]
				info := e.keys.names.look(name, endsOf(name)).info
				if _, secret := info.hashed(); secret {
					return false, false
				}
				bare = bare && info.class == 0
			}
			named = kind == octetEquals
			if kind == octetPair {
				start = i + 1
			}
		default:
			return false, false
		}
	}
	return true, bare
}
