package transport

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
)

func TestAnAddressThatDoesNotAnswerGivesWayToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs := []netip.AddrPort{netip.MustParseAddrPort("[::1]:1"), netip.MustParseAddrPort("127.0.0.1:1")}
		answers := new(quic.Conn)
		begin := time.Now()
		conn, err := inTurn(t.Context(), addrs, func(ctx context.Context, addr netip.AddrPort) (*quic.Conn, error) {
			if addr == addrs[1] {
				return answers, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if conn != answers || err != nil || time.Since(begin) != patience {
			t.Errorf("got %v and %v after %v, want the second after %v", conn, err, time.Since(begin), patience)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin = time.Now()
		_, err = inTurn(ctx, addrs, func(ctx context.Context, _ netip.AddrPort) (*quic.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Hour {
			t.Errorf("got %v after %v, want the last to have all the time", err, time.Since(begin))
		}
	})
}
