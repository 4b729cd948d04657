package content

import "offpath/reassembly/message"

// fields are the header fields of the message at hand that have a role.
type fields struct {
	head  *message.Head
	shape *shape
}

// fields finds the fields of a head. They are valid until the next call.
func (t *shapeTable) fields(head *message.Head) fields { return fields{head, t.get(head)} }

// first returns the first value in a role; nil if there is none.
func (f *fields) first(r role) []byte {
	if i := f.shape.first[r]; i != 0 {
		return f.head.Fields[i-1].Value
	}
	return nil
}

// each calls do with every value in a role, in wire order.
func (f *fields) each(r role, do func(value []byte)) {
	if !f.shape.has(r) {
		return
	}
	for _, u := range f.shape.used {
		if u.role == r {
			do(f.head.Fields[u.index].Value)
		}
	}
}
