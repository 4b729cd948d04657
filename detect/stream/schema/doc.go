// Package schema is the protobuf schema of what travels over Kafka, and its
// generated code. Other languages generate theirs from transaction.proto.
//
// Memory: a decoded transaction shares no octets with the message it came from.
package schema

//go:generate sh -c "GOBIN=$PWD/.bin go install google.golang.org/protobuf/cmd/protoc-gen-go && PATH=$PWD/.bin:$PATH protoc --go_out=. --go_opt=paths=source_relative transaction.proto; s=$?; rm -rf .bin; exit $s"
