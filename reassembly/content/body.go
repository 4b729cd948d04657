package content

import (
	"offpath/reassembly"
	"offpath/reassembly/message"
)

type decoder struct{}
type keySet struct{}
type credentials struct{}
type cookieTokens struct{}

func (e *Extractor) requestBody(tx *reassembly.Transaction, head *message.Head, body message.Body) {
	tx.Request.BodyBytes = body.Bytes
}
func (e *Extractor) responseBody(tx *reassembly.Transaction, head *message.Head, body message.Body) {
	tx.Response.BodyBytes = body.Bytes
	if v, ok := head.Get("content-type"); ok {
		e.setLower(&tx.Response.MIMEType, mediaType(v))
	}
}
func (e *Extractor) detail(d *reassembly.Detail, head *message.Head, body message.Body) {
	d.DecodedBytes = reassembly.Unknown
}
func (e *Extractor) refusedBy(head *message.Head) string { return "" }
