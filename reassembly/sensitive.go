package reassembly

import "iter"

// Sensitive is which classes of sensitive data a transaction holds, and where:
// never values. The zero value means that nobody looked.
type Sensitive uint64

// SensitiveLooked says that it was looked for: what else is not set is not there,
// as far as the content was seen.
const SensitiveLooked Sensitive = 1

// Class is one of sensitive data.
type Class uint8

// The classes, in the order in which they are written.
const (
	ClassCard  Class = iota // payment card number: prefix and length of an issuer, Luhn's check digit (ISO/IEC 7812)
	ClassIBAN               // length of the country, check digits (ISO 13616)
	ClassABA                // routing number of a US bank, by the name of its field and its check digit
	ClassJWT                // JSON Web Token (RFC 7519)
	ClassSSN                // US social security number
	ClassEmail              // address (RFC 5321)
	ClassPhone              // number in international form (E.164), or in that of North America
	classes
)

// Place is one where sensitive data stands.
type Place uint8

// The places, in the order in which they are written.
const (
	PlaceRequestHeader Place = iota // values of header fields
	PlaceRequestTarget              // path and query
	PlaceRequestBody
	PlaceResponseHeader
	PlaceResponseBody
	places
)

// ClassSet is a set of classes.
type ClassSet uint8

// Of is the set of one class.
func (c Class) Of() ClassSet { return 1 << c }

// Add notes that classes are at a place, and that it was looked for.
func (s *Sensitive) Add(p Place, set ClassSet) {
	*s |= SensitiveLooked | Sensitive(set)<<(1+uint(p)*uint(classes))
}

// Names are the classes with their places, such as request.body.card.
func (s Sensitive) Names() []string { return names(uint64(s>>1), sensitiveNames[:]) }

// All yields the Names.
func (s Sensitive) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, name := range sensitiveNames {
			if s>>1&(1<<i) != 0 && !yield(name) {
				return
			}
		}
	}
}

// SensitiveFrom is the inverse of Names, of one who looked; ok is false if a name
// is unknown.
func SensitiveFrom(list []string) (s Sensitive, ok bool) {
	set, ok := bits(list, sensitiveNames[:])
	return Sensitive(set<<1) | SensitiveLooked, ok
}

// Valid reports whether s has no bits but those known, and none of one who did
// not look.
func (s Sensitive) Valid() bool {
	return s>>(1+len(sensitiveNames)) == 0 && (s == 0 || s&SensitiveLooked != 0)
}

var sensitiveNames = func() (list [int(classes) * int(places)]string) {
	for p, place := range [places]string{"request.header", "request.target", "request.body", "response.header", "response.body"} {
		for c, class := range [classes]string{"card", "iban", "aba", "jwt", "ssn", "email", "phone"} {
			list[p*int(classes)+c] = place + "." + class
		}
	}
	return list
}()
