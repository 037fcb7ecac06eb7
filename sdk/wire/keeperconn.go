package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxRights is how many descriptors the kernel lets one packet carry
// (SCM_MAX_FD): room for all of them means that none is lost for want of it.
const maxRights = 253

// KeeperConn is one end of the socket between a plugin and the keeper of its
// host: a pair of connected unix sockets that keep packets apart
// (SOCK_SEQPACKET). One goroutine may send while another one receives.
type KeeperConn struct {
	socket *net.UnixConn
	out    []byte
	in     []byte
	rights []byte
}

// NewKeeperConn takes over the socket, whether it succeeds or not.
func NewKeeperConn(f *os.File) (*KeeperConn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("wire: keeper socket: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok || socket.LocalAddr().Network() != "unixpacket" {
		return nil, errors.Join(errors.New("wire: keeper socket: not a unix socket of packets"), conn.Close())
	}
	return &KeeperConn{
		socket: socket,
		in:     make([]byte, maxKeeperMessage),
		rights: make([]byte, unix.CmsgSpace(maxRights*4)),
	}, nil
}

// Send sends m. The files stay the caller's.
func (c *KeeperConn) Send(m KeeperMessage) error {
	c.out = AppendKeeperMessage(c.out[:0], m)
	var rights []byte
	if len(m.Files) > 0 {
		rights = unix.UnixRights(m.Files...)
	}
	_, _, err := c.socket.WriteMsgUnix(c.out, rights, nil)
	return err
}

// Receive returns the next message. Data is valid until the next call; the
// files are closed to child processes and belong to the caller. After an error
// the connection is of no use. The error is io.EOF when the other end has
// closed it.
func (c *KeeperConn) Receive() (KeeperMessage, error) {
	n, rights, flags, _, err := c.socket.ReadMsgUnix(c.in, c.rights)
	files, err := receivedFiles(c.rights[:rights], err)
	if err == nil && flags&syscall.MSG_TRUNC != 0 {
		err = fmt.Errorf("wire: keeper message of more than %d bytes", maxKeeperMessage)
	}
	var m KeeperMessage
	if err == nil {
		m, err = DecodeKeeperMessage(c.in[:n])
	}
	if err != nil {
		CloseFiles(files)
		return KeeperMessage{}, err
	}
	m.Files, m.FilesLost = files, flags&syscall.MSG_CTRUNC != 0
	return m, nil
}

// receivedFiles adds its error to that of the read: also a packet that is
// none, such as an empty one, may have brought files.
func receivedFiles(rights []byte, readErr error) (files []int, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, errors.Join(readErr, err)
	}
	for _, message := range messages {
		if message.Header.Level != unix.SOL_SOCKET || message.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		more, err := unix.ParseUnixRights(&message)
		if err != nil {
			return files, errors.Join(readErr, err)
		}
		files = append(files, more...)
	}
	return files, readErr
}

// CloseFiles closes descriptors.
func CloseFiles(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd) // there is nothing that could be done about it
	}
}

// SetDeadline bounds sending and receiving, as that of a net.Conn.
func (c *KeeperConn) SetDeadline(t time.Time) error { return c.socket.SetDeadline(t) }

// SetWriteDeadline bounds sending.
func (c *KeeperConn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }

// CloseRead lets Receive return what has already been sent, and then io.EOF.
func (c *KeeperConn) CloseRead() error { return c.socket.CloseRead() }

// Close ends the connection, and calls that wait.
func (c *KeeperConn) Close() error { return c.socket.Close() }
