# Makes vectors.json here and in keyring, from FORMAT.md alone, without the Go code.
# Run it in this folder; it needs cryptography >= 44 from PyPI.
import hmac, hashlib, json, base64, struct
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
def hm(k,m): return hmac.new(k,m,hashlib.sha256).digest()
def hkdf(ikm,salt,info,n):
    prk=hm(salt,ikm); t=b'';o=b'';i=1
    while len(o)<n: t=hm(prk,t+info+bytes([i])); o+=t; i+=1
    return o[:n]
key=bytes(range(32)); repo=bytes(range(0xa0,0xb0)); oid=bytes(range(0x40,0x60))
sub=lambda l: hkdf(key,repo,b"bkfs/v1/"+l.encode(),32)
v={"key":key.hex(),"repository":repo.hex(),"object":oid.hex()}
v["config_mac"]=hm(sub("config"),b"body").hex()
v["chunk_id"]=hm(sub("chunk-id"),b"\x01"+b"hello").hex()
v["chunk_id_empty"]=hm(sub("chunk-id"),b"\x02").hex()
v["name_hash"]=hm(sub("name-hash"),struct.pack(">Q",7)+"naïve.txt".encode())[:8].hex()
v["chunker_seed"]=sub("chunker").hex()
v["objects"]=[]
for p in ["pack","journal","root","index"]:
    o=hkdf(sub(p),repo,b"bkfs/v1/"+p.encode()+b"/object"+oid,64)
    prefix=b"bkfs"+struct.pack(">HB",1,1)+repo+p.encode()+oid
    r=0x0102030405060708
    n=bytes([0x80|3])+bytes(range(11))
    v["objects"].append({"purpose":p,"commitment":o[32:].hex(),
      "sealed":AESGCM(o[:32]).encrypt(b"\0"*4+struct.pack(">Q",r),b"the plaintext",prefix+struct.pack(">QB",r,9)).hex(),
      "random":(n+AESGCM(o[:32]).encrypt(n,b"the plaintext",prefix+b"aad")).hex()})
json.dump(v,open("vectors.json","w"),indent=1)

# slots
b64=lambda b: base64.b64encode(b).decode()
s_=lambda x: struct.pack(">H",len(x))+x
tok=bytes(range(0x10,0x30)); rec=bytes(range(0x60,0x80))
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
asalt=bytes(range(16))
pw=Argon2id(salt=asalt,length=32,iterations=2,lanes=1,memory_cost=64).derive("correct horse".encode())
f={"credential":b64(bytes(range(64))),"salt":b64(bytes(range(0x20,0x40))),"rp":"bkfs","algorithm":"es256","pin":True,"presence":True,"verification":False,"aaguid":"2fc0579f-8113-47ea-b116-bb5a8db9202a"}
a={"time":2,"memory_kib":64,"threads":1,"salt":b64(asalt)}
pf=s_(bytes(range(64)))+s_(bytes(range(0x20,0x40)))+s_(b"bkfs")+s_(b"es256")+bytes([1|2])+bytes.fromhex(f["aaguid"].replace("-",""))
pa=struct.pack(">IIB",2,64,1)+s_(asalt)
out={"repository":repo.hex(),"repository_key":key.hex(),"token":tok.hex(),"passphrase":"correct horse","argon2":pw.hex(),"recovery":rec.hex(),"slots":[]}
for i,(t,secret,ff,aa) in enumerate([("fido2",tok,f,None),("passphrase",pw,None,a),("recovery",rec,None,None),("fido2+passphrase",tok+pw,f,a)]):
    sid=bytes([i+1]*8); salt=bytes([0xe0+i])*32; label="the "+t+" key" if i!=2 else ""; created=1795442709
    info=b"bkfs/v1/slot"+repo+sid+s_(t.encode())+(pf if ff else b"")+(pa if aa else b"")
    o=hkdf(secret,salt,info,64)
    header=info+s_(salt)+s_(label.encode())+struct.pack(">Q",created)+o[32:]
    sl={"id":sid.hex(),"type":t}
    if label: sl["label"]=label
    sl["created"]="2026-11-23T14:05:09Z"; sl["salt"]=b64(salt)
    if ff: sl["fido2"]=ff
    if aa: sl["argon2"]=aa
    sl["commitment"]=b64(o[32:]); sl["wrapped"]=b64(AESGCM(o[:32]).encrypt(b"\0"*12,key,header))
    out["slots"].append(sl)
import datetime; assert datetime.datetime(2026,11,23,14,5,9,tzinfo=datetime.timezone.utc).timestamp()==created, datetime.datetime(2026,11,23,14,5,9,tzinfo=datetime.timezone.utc).timestamp()
AL="0123456789ABCDEFGHJKMNPQRSTVWXYZ"
def dbl(v):
    v<<=1
    return v^0b100101 if v&32 else v
def text(k):
    n=int.from_bytes(k,"big")<<4; vals=[(n>>(5*(51-i)))&31 for i in range(52)]; g=[]
    for i in range(13):
        d=vals[4*i:4*i+4]; c=i+1
        for x in d: c=dbl(c)^x
        g.append("".join(AL[x] for x in d+[dbl(c)]))
    return "-".join(g)
out["texts"]=[{"key":k.hex(),"text":text(k)} for k in (rec,b"\0"*32,b"\xff"*32,hashlib.sha256(b"bkfs").digest())]
json.dump(out,open("../../../keyring/testdata/vectors.json","w"),indent=1,ensure_ascii=False)
