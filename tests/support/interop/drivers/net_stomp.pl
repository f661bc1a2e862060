# Perl's Net::Stomp as a puppet of a Python test; it connects again by itself.
#
#   perl net_stomp.pl HOST:PORT HEARTBEAT_MS COMES_BACK

use strict;
use warnings;
use IO::Select;
use JSON::PP;
use MIME::Base64;
use Net::Stomp;

my ($address, undef, $comes_back) = @ARGV;
my ($host, $port) = split /:/, $address;
my $json = JSON::PP->new->utf8->canonical;
my $stdin = IO::Select->new(\*STDIN);
my (@messages, %names);
my $session = "";
my $count = 0;
$| = 1;

sub tell_test {
    my ($event, %more) = @_;
    print $json->encode({ event => $event, %more }), "\n";
}

sub receipt {
    my ($name) = @_;
    my $id = "receipt-" . ++$count;
    $names{$id} = $name;
    return (receipt => $id);
}

my $stomp = Net::Stomp->new({
    hostname => $host,
    port => $port,
    reconnect_attempts => $comes_back ? 0 : 1,
    connect_delay => 1,
    logger => Quiet->new,
});
$stomp->connect({ "accept-version" => "1.1", host => "localhost" });

sub take {
    my ($frame) = @_;
    my $headers = $frame->headers;
    if ($frame->command eq "MESSAGE") {
        push @messages, $frame;
        tell_test("message", number => $#messages, headers => $headers,
            base64 => encode_base64($frame->body, ""));
    } elsif ($frame->command eq "RECEIPT") {
        # A SUBSCRIBE that is repeated asks for its receipt again.
        my $name = delete $names{ $headers->{"receipt-id"} };
        tell_test("receipt", name => $name) if defined $name;
    } elsif ($frame->command eq "ERROR") {
        tell_test("error", message => $headers->{message});
    }
}

sub obey {
    my ($order) = @_;
    my $op = $order->{op};
    my %headers = %{ $order->{headers} || {} };
    if ($op eq "subscribe") {
        my $id = $headers{id};
        $stomp->subscribe({ destination => $order->{destination}, %headers, receipt($id) });
    } elsif ($op eq "unsubscribe") {
        $stomp->unsubscribe({ id => $order->{id}, receipt($order->{id}) });
    } elsif ($op eq "send") {
        my $body = decode_base64($order->{base64});
        my @receipt = defined $order->{confirm} ? receipt($order->{confirm}) : ();
        $stomp->send({ destination => $order->{destination}, body => $body,
            bytes_message => 1, %headers, @receipt });
    } elsif ($op eq "ack" || $op eq "nack") {
        my $frame = $messages[ $order->{message} ];
        my %about = (subscription => $frame->headers->{subscription}, %headers);
        $stomp->$op({ frame => $frame, %about });
    } elsif ($op eq "begin" || $op eq "commit" || $op eq "abort") {
        # send_transactional() takes one message; a program sends these frames itself.
        $stomp->send_frame(Net::Stomp::Frame->new(
            { command => uc $op, headers => { transaction => $order->{name} } }));
    } elsif ($op eq "leave") {
        $stomp->disconnect;
        tell_test("left");
        exit;
    }
}

my $rest = "";
while (1) {
    if ($stomp->session_id && $stomp->session_id ne $session) {
        $session = $stomp->session_id;
        tell_test("connected");
    }
    # A connection that has ended is made anew by the next call that reads or writes.
    if ($stomp->can_read({ timeout => 0.02 }) || !$stomp->socket->connected) {
        my $frame = $stomp->receive_frame({ timeout => 1 });
        take($frame) if $frame;
    }
    while ($stdin->can_read(0)) {
        my $got = sysread STDIN, $rest, 65536, length $rest;
        exit unless $got;
        while ($rest =~ s/^([^\n]*)\n//) {
            obey($json->decode($1));
        }
    }
}

package Quiet;
sub new { return bless {}, shift }
sub AUTOLOAD { return }
