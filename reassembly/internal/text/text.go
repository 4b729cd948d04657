// Package text collects the strings of one transaction in one buffer, so that
// they cost one allocation together.
package text

// Builder gathers strings and gives them out at Commit. The zero value is
// ready; a Builder is re-used for transaction after transaction and is not for
// concurrent use.
type Builder struct {
	buf  []byte
	refs []ref
}

type ref struct {
	dst      *string
	from, to int
}

// Set makes *dst the octets of part once Commit is called; an empty part sets
// nothing.
func (b *Builder) Set(dst *string, part []byte) {
	if len(part) == 0 {
		return
	}
	from := len(b.buf)
	b.buf = append(b.buf, part...)
	b.refs = append(b.refs, ref{dst, from, len(b.buf)})
}

// SetLower is Set with ASCII letters in lower case.
func (b *Builder) SetLower(dst *string, part []byte) {
	from := len(b.buf)
	b.Set(dst, part)
	for i := from; i < len(b.buf); i++ {
		if c := b.buf[i]; 'A' <= c && c <= 'Z' {
			b.buf[i] = c | 0x20
		}
	}
}

// Commit fills in every string set since the last Commit.
func (b *Builder) Commit() {
	all := string(b.buf)
	for i, r := range b.refs {
		*r.dst = all[r.from:r.to]
		b.refs[i].dst = nil
	}
	b.buf, b.refs = b.buf[:0], b.refs[:0]
}
