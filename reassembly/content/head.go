package content

import "offpath/reassembly/message"

// fields are the header fields of the message at hand that have a role.
type fields struct {
	head  *message.Head
	shape *shape
	first [roles][]byte // the first value in each role
}

// scan finds the fields of a head, whose shape t knows. They are valid until the
// next use of t.
func (f *fields) scan(t *shapeTable, head *message.Head) {
	f.head, f.shape = head, t.get(head)
	for _, u := range f.shape.used {
		if f.first[u.role] == nil {
			f.first[u.role] = head.Fields[u.index].Value
		}
	}
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

// count returns how many fields are in a role.
func (f *fields) count(r role) (n int) {
	for _, u := range f.shape.used {
		if u.role == r {
			n++
		}
	}
	return n
}
