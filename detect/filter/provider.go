package filter

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"offpath/reassembly"
)

// ErrAbsent says that an expression needs a field that is not there.
var ErrAbsent = errors.New("is not there")

// provider tells CEL of the objects.
type provider struct {
	types.Provider
	root   *node
	prefix string // of its types
}

// find returns the object of a type.
func (p provider) find(structType string) *node {
	path, ok := strings.CutPrefix(structType, p.prefix)
	if !ok {
		return nil
	}
	n := p.root
	if path == "" {
		return n
	}
	for name := range strings.SplitSeq(path, ".") {
		if n = n.members[name]; n == nil || n.members == nil {
			return nil
		}
	}
	return n
}

// FindStructType implements types.Provider.
func (p provider) FindStructType(structType string) (*types.Type, bool) {
	if n := p.find(structType); n != nil {
		return types.NewTypeTypeWithParam(n.kind), true
	}
	return p.Provider.FindStructType(structType)
}

// FindStructFieldNames implements types.Provider.
func (p provider) FindStructFieldNames(structType string) ([]string, bool) {
	if n := p.find(structType); n != nil {
		return n.order, true
	}
	return p.Provider.FindStructFieldNames(structType)
}

// FindStructFieldType implements types.Provider.
func (p provider) FindStructFieldType(structType, name string) (*types.FieldType, bool) {
	n := p.find(structType)
	if n == nil {
		return p.Provider.FindStructFieldType(structType, name)
	}
	m := n.members[name]
	if m == nil {
		return nil, false
	}
	return &types.FieldType{
		Type: m.kind,
		IsSet: func(target any) bool {
			tx, ok := target.(*reassembly.Transaction)
			if ok {
				_, ok = m.value(tx)
			}
			return ok
		},
		GetFrom: func(target any) (any, error) {
			tx, ok := target.(*reassembly.Transaction)
			if !ok {
				return nil, fmt.Errorf("no transaction: %T", target)
			}
			value, ok := m.value(tx)
			if !ok && m.members == nil {
				return nil, fmt.Errorf("%s %w", name, ErrAbsent)
			}
			return value, nil
		},
	}, true
}

// NewValue implements types.Provider: expressions make no objects.
func (p provider) NewValue(structType string, values map[string]ref.Val) ref.Val {
	if p.find(structType) != nil {
		return types.NewErr("a transaction can't be made")
	}
	return p.Provider.NewValue(structType, values)
}
