# Writes the vectors in this folder from FORMAT.md, independent of the Go code.
import os, hmac, hashlib, struct, json
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
OUT=os.path.dirname(os.path.abspath(__file__))
os.makedirs(OUT,exist_ok=True)
def uv(n):
    o=b''
    while n>=0x80: o+=bytes([n&0x7f|0x80]); n>>=7
    return o+bytes([n])
def sv(n): return uv((n<<1)^(n>>63))
def s(b): return uv(len(b))+b
I=lambda c: bytes([c])*32
class Rec:
    def __init__(self): self.l=[]
    def __call__(self,b,what): self.l.append((b,what)); return self
    def add(self,o): self.l+=o.l; return self
    def b(self): return b''.join(x for x,_ in self.l)
    def write(self,name,head):
        with open(f"{OUT}/{name}.hex","w") as f:
            f.write(f"# {head}\n")
            for b,w in self.l:
                h=b.hex()
                if len(b)>=8 and len(set(b))==1: h=f"{b[:1].hex()}*{len(b)}"
                f.write(f"{h:<24} # {w}\n")
def time(r,what,sec,ns): return r(sv(sec)+uv(ns),what)
def root(r,what,i,h,n): return r(i,what+": id of its root page")(bytes([h]),"height")(uv(n),"entries")
def face(mode,uid,gid,rdev,size,xattrs,target):
    r=Rec()(uv(mode),f"mode {mode:o}")(uv(uid),"user")(uv(gid),"group")(uv(rdev),"device")(uv(size),"size")
    r(uv(len(xattrs)),"number of extended attributes")
    for k,v in xattrs: r(s(k),f"name {k.decode()}")(s(v),"value")
    return r(s(target),"target of a symbolic link")
def attr(ino,mode,shared,nlink,uid,gid,rdev,size,times,xattrs,target):
    r=Rec()(uv(ino),"inode number")(bytes([shared]),"shared" if shared else "not shared")(uv(nlink),"links")
    for w,t in zip(("atime","mtime","ctime","btime"),times): time(r,w,*t)
    return r.add(face(mode,uid,gid,rdev,size,xattrs,target))
T=[(1795442709,0),(1795442709,123456789),(-1,999999999),(0,0)]
def extent(r,off,ln,c,st,keyed=False):
    if not keyed: r(uv(off),"offset")
    return r(uv(ln),"length")(c,"chunk" if any(c) else "no chunk: a hole")(uv(st),"start in the chunk")
FILE=(0o100644,1000,100,0,300000,[(b"user.a",b"b"),(b"user.empty",b"")],b"")
DIRECTORY=(0o40755,1000,100,0,5,[],b"")
def node(ino,links,f): return attr(ino,f[0],0,links,*f[1:5],T,*f[5:])
def content(r):
    r(b"\1","content: inline")(b"\2","number of extents")
    extent(r,0,200000,I(0x11),0); extent(r,204096,95904,I(0x22),4096); return r
def inline(): return content(node(257,1,FILE))
inline().write("node-inline","A regular file of 300000 bytes with two extents and a hole between them.")
r=attr(258,0o100600,0,1,0,0,0,1<<40,T,[],b"")(b"\2","content: paged"); root(r,"extents",I(0x33),2,1048577)
r.write("node-paged","A file whose extents are in pages.")
r=attr(259,0o104755,1,2,0,0,0,1<<20,T,[],b"")(b"\0","content: none")
r.write("node-hole","A file that is one hole, with two names: it is in the inode tree.")
def names(r): return root(r,"names",I(0x44),1,5)
def stamps(r): return root(r,"stamps",I(0x4a),1,5)
def directory(ino,parent):
    r=node(ino,3,DIRECTORY)(uv(parent),"inode number of its directory")
    return stamps(names(r))
directory(2,1).write("node-directory","A directory of five entries, one of them a directory.")
attr(260,0o120777,0,1,0,0,0,0,T,[],b"../target").write("node-symlink","A symbolic link.")
attr(261,0o20620,0,1,0,5,0x8801,0,T,[],b"").write("node-device","A character device.")
# entries of directory 258
def name(n,typ,f=None):
    r=Rec()(s(n.encode()),f"name {n}")(bytes([typ]),"type: mode >> 12")
    if f is None: return r(b"\0","its node is in the inode tree")
    r(b"\1","with its node:").add(face(*f)); time(r,"atime",*T[0]); time(r,"mtime",*T[1]); return r
def stamp(ino,c,b,dir=258):
    r=Rec()(sv(ino-dir),f"inode number {ino}, less {dir}")
    if b is None: return r
    (cs,cn),(bs,bn)=c,b; time(r,"btime",bs,bn); return r(sv(cs-bs),"ctime's seconds, less btime's")(sv(cn-bn),"its nanoseconds, less btime's")
content(name("naïve.txt",0o10,FILE)).write("name-file","What the names have of a regular file.")
names(name("letters",0o4,DIRECTORY)(uv(3),"links")).write("name-directory","What the names have of a directory.")
name("linked",0o10).write("name-shared","What the names have of a shared node.")
stamp(257,*T[2:]).write("stamp-file","What the stamps of directory 258 have of a regular file.")
stamps(stamp(2,(1795442711,3),(1795442709,5))).write("stamp-directory","What the stamps of directory 258 have of a directory.")
stamp(259,None,None).write("stamp-shared","What the stamps of directory 258 have of a shared node.")
extent(Rec(),4096,65536,I(0x55),17,keyed=True).write("extent","An entry's value in a map of extents; the key is the offset.")
extent(Rec(),4096,65536,bytes(32),0,keyed=True).write("extent-hole","A hole, as a journal may have it.")
def tree(r,rootnode,inodes,next,ni,nb):
    r(uv(len(rootnode.b())),"length of the root directory's node").add(rootnode)
    root(r,"inode tree",*inodes)
    return r(uv(next),"next inode number")(uv(ni),"inodes in all")(uv(nb),"bytes in all")
def archive(num,name,removed=0,gone=0):
    r=Rec()(uv(num),"archive number")(s(name),f"name {name.decode()}")
    time(r,"created",1795442709,1); time(r,"changed",1795442710,2)
    r(bytes([removed]),"removed" if removed else "not removed")(bytes([gone]),"reserved, 0")
    return tree(r,directory(1,1),(I(0x66),1,3),262,9,1349576)
archive(1,b"documents").write("archive","An archive record.")
r=Rec()(uv(300),"snapshot number")(uv(1),"archive number")(s(b"2026-11-23T140509Z"),"name 2026-11-23T140509Z")
time(r,"time",1795442709,5); r(b"\1","automatic")
tree(r,directory(1,1),(bytes(32),0,0),262,9,1349576); r.write("snapshot","A snapshot record without inode tree.")
def packs(r,l):
    r(uv(len(l)),"number of packs")
    for i,k,n in l: r(i,"pack id")(bytes([k]),"kind")(uv(n),"size")
    return r
def place(r,c,p,*v):
    r(c,"page")(p,"pack")
    for x,w in zip(v,("offset of the sealed blob","its length","its record number","start in the payload","length")): r(uv(x),w)
def rootbody():
    r=Rec()(uv(7),"generation")(I(0x77),"SHA-256 of the root before"); time(r,"time",1795442711,3)
    r(uv(9),"journal's generation")(I(0x88),"journal's id")(uv(301),"next number")(uv(2),"number of archives")
    r.add(archive(1,b"documents")).add(archive(2,b"old",1))
    root(r,"snapshots",I(0x99),1,1); root(r,"pack set",I(0xaa),1,513)
    packs(r,[(I(0xbb),1,16777216),(I(0xcc),2,8192)])
    r(b"\1","number of places"); place(r,I(0xaa),I(0xdd),141,5000,2,4,20000)
    return r
rootbody().write("root","The plaintext of a root.")
r=packs(Rec()(b"\1","packs"),[(I(0xbb),1,16777216)])
r(b"\2","chunk")(b"\1","kind: data")(s(b"hello"),"its bytes")
r(b"\3","archive:").add(archive(1,b"documents"))
r(b"\4","tree")(uv(1),"of archive 1")(uv(263),"next inode number")(uv(10),"inodes in all")(uv(1349581),"bytes in all")
r(b"\6","path")(uv(257),"of inode 257: its directory")(uv(1),"is 1,")(uv(1<<40),"its cookie")
r(b"\7","name")(uv(1),"in directory 1")(uv(1<<40),"at a cookie")(uv(257),"is of inode 257")(bytes([0o10]),"type")(s(b"renamed"),"name")
r(b"\7","name")(uv(1),"in directory 1")(uv(77),"at a cookie")(uv(0),"is gone")
r(b"\12","bytes")(uv(257),"of inode 257")(uv(300000),"offset")(s(b"bytes"),"bytes")
r(b"\10","node:").add(attr(257,0o100644,0,1,1000,100,0,300005,T,[],b""))(uv(1),"origin: directory")(uv(99),"cookie")
r(b"\2","number of changed extents"); extent(r,0,4096,I(0x11),0); extent(r,8192,4096,bytes(32),0)
r(b"\1","number of uncut ranges")(uv(300000),"from")(uv(300005),"to")
r(b"\10","node:").add(attr(2,0o40755,0,2,0,0,0,0,T,[],b""))(uv(0),"origin: none")(uv(0),"")(uv(1),"inode number of its directory")(b"\0","number of changed extents")(b"\0","number of uncut ranges")
r(b"\11","gone")(uv(256),"inode 256")
r(b"\5","end of the tree")
r.write("batch","A journal batch with every kind of record.")
# sealed things
def hm(k,m): return hmac.new(k,m,hashlib.sha256).digest()
def hkdf(ikm,salt,info,n):
    prk=hm(salt,ikm); t=b'';o=b'';i=1
    while len(o)<n: t=hm(prk,t+info+bytes([i])); o+=t; i+=1
    return o[:n]
key=bytes(range(32)); repo=bytes(range(0xa0,0xb0)); oid=bytes(range(0x40,0x60))
sub=lambda l: hkdf(key,repo,b"bkfs/v1/"+l.encode(),32)
def obj(p): 
    o=hkdf(sub(p),repo,b"bkfs/v1/"+p.encode()+b"/object"+oid,64)
    return o[:32],o[32:],b"bkfs"+struct.pack(">HB",1,1)+repo+p.encode()+oid
k,commit,prefix=obj("root")
sealed=AESGCM(k).encrypt(bytes(12),rootbody().b(),prefix+struct.pack(">QB",0,0))
Rec()(b"bkfsroot","magic")(b"\0\1","format")(oid,"root id")(commit,"key commitment")(sealed[:-16],"ciphertext of root.hex")(sealed[-16:],"tag").write("root-object","The object roots/0000000000000007 of a repository with key 00 01 ... 1f and id a0 a1 ... af.")
cfg={"format":1,"id":repo.hex(),"suite":"aes256gcm-hmacsha256-hkdfsha256",
 "chunker":{"name":"fastcdc-gear64","min":65536,"max":1048576,"avg":262144,"normalization":2},
 "created":"2026-11-23T14:05:09Z","generation":3,"epoch":0,"incompatible_features":[],
 "slots":[{"id":"0102030405060708","type":"recovery"}]}
body=json.dumps(cfg,indent=2).encode()
open(f"{OUT}/config","wb").write(b"bkfs repository config\n"+body+b"\nsha256 "+hashlib.sha256(body).hexdigest().encode()+b"\nmac "+hm(sub("config"),body).hex().encode()+b"\n")
