package endpoint

// match is what a child and a parameter have in common.
type match struct {
	alike  bool // answers with the same keys at the same end
	clash  bool // other answers there
	common bool // an end of both
	visits int
}

// compare looks for a child's ends below a parameter.
func (m *match) compare(c, param *node) {
	if m.visits++; m.visits > maxVisited {
		return
	}
	for _, e := range c.ends {
		of := param.end(e.method, e.operation)
		if of == nil {
			continue
		}
		m.common = true
		switch {
		case of.shapes.loose || of.shapes.n == 0 && !of.empty:
		case e.shapes.n > 0 && of.shapes.n > 0:
			same := false
			for i := range e.shapes.list[:e.shapes.n] {
				same = same || of.shapes.has(e.shapes.list[i].keys)
			}
			m.alike = m.alike || same && !c.host.envelope(e.shapes.list[0].hash)
			m.clash = m.clash || !same
		case e.shapes.n > 0, e.empty && of.shapes.n > 0 && !of.empty:
			m.clash = true
		}
	}
	if c.param != nil && param.param != nil {
		m.compare(c.param, param.param)
	}
	for _, child := range c.children {
		if to := param.child(child.segment); to != nil {
			m.compare(child, to)
		} else if param.param != nil && (param.open || strange(child.segment)) {
			m.compare(child, param.param)
		}
	}
}
