// The options of a peer: gRPC's channel arguments by name, as far as grpc-go has the like and a test asks for it.

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// serverOptions is a flag, `NAME=VALUE`, that may be repeated.
type serverOptions struct {
	ages      keepalive.ServerParameters
	policy    keepalive.EnforcementPolicy
	tableSize *uint32
}

func (o *serverOptions) String() string { return "" }

func (o *serverOptions) Set(text string) error {
	name, written, _ := strings.Cut(text, "=")
	value, err := strconv.ParseUint(written, 10, 32)
	if err != nil {
		return err
	}
	milliseconds := time.Duration(value) * time.Millisecond
	switch name {
	case "grpc.max_connection_age_ms":
		o.ages.MaxConnectionAge = milliseconds
	case "grpc.max_connection_age_grace_ms":
		o.ages.MaxConnectionAgeGrace = milliseconds
	case "grpc.http2.min_ping_interval_without_data_ms":
		o.policy.MinTime = milliseconds
	case "grpc.keepalive_permit_without_calls":
		o.policy.PermitWithoutStream = value != 0
	case "grpc.http2.hpack_table_size.decoder":
		size := uint32(value)
		o.tableSize = &size
	default:
		return fmt.Errorf("grpc-go's server has no such option: %s", name)
	}
	return nil
}

// asGrpc gives them as grpc-go takes them; messages may be of any size.
func (o *serverOptions) asGrpc() []grpc.ServerOption {
	given := []grpc.ServerOption{
		grpc.KeepaliveParams(o.ages),
		grpc.KeepaliveEnforcementPolicy(o.policy),
		grpc.MaxRecvMsgSize(math.MaxInt32),
	}
	if o.tableSize != nil {
		given = append(given, grpc.HeaderTableSize(*o.tableSize))
	}
	return given
}
