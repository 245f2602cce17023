"""Features from elsewhere and to elsewhere: every layout, exact round trips, honest recipes, refusals."""
import hashlib
import io
import json
import pickle
import tarfile

import h5py
import numpy as np
import pytest

from data.errors import UserError
from data.folder.folder import MISSING, OK, UNREADABLE, Features
from extract.command import main
from extract.exchange.sources import to_id
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import draw_photo, photo_id, write_dataset
from tests.tiny_runs import TINY

IDS = [photo_id(split, album, number) for split, albums in (("train", 4), ("val", 1), ("test", 1))
       for album in range(albums) for number in range(6)]
WIDTH = 12


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data")


@pytest.fixture
def vectors():
    """Of all photos but two, and of one that no story names; float32 that float16 holds."""
    random = np.random.default_rng(4)
    return {name: random.standard_normal(WIDTH).astype(np.float16).astype(np.float32)
            for name in [*IDS[:9], *IDS[11:], "nobody"]}


def write_npy(root, vectors):
    for name, vector in vectors.items():
        path = root / name[:2] / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, vector[None] if name.endswith("1") else vector)


def write_npz(root, vectors):
    root.mkdir()
    for name, vector in vectors.items():
        np.savez_compressed(root / f"{name}.npz", fc=vector)


def write_matrix(root, vectors):
    root.mkdir()
    np.save(root / "features.npy", np.stack(list(vectors.values())))
    (root / "photo_ids.txt").write_text("\n".join(vectors))


def write_hdf5(path, vectors):
    with h5py.File(path, "w") as file:
        file["anything"] = np.stack(list(vectors.values()))
        file["names"] = list(vectors)
        file["boxes"] = np.zeros((3, 4), np.int64)


def write_clip_retrieval(root, vectors):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    names = list(vectors)
    for part in range(12):
        chosen = names[part * 3:part * 3 + 3]
        (root / "img_emb").mkdir(parents=True, exist_ok=True)
        (root / "metadata").mkdir(exist_ok=True)
        np.save(root / "img_emb" / f"img_emb_{part}.npy", np.stack([vectors[name] for name in chosen]))
        table = pyarrow.table({"image_path": [f"/their/disk/{name}.JPG" for name in chosen]})
        parquet.write_table(table, root / "metadata" / f"metadata_{part}.parquet")


def write_parquet(path, vectors):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"image_path": list(vectors), "emb": [list(map(float, vector)) for vector in
                                                                            vectors.values()], "n": [1] * len(vectors)},
                                      schema=pyarrow.schema({"image_path": pyarrow.string(), "n": pyarrow.int32(),
                                                             "emb": pyarrow.list_(pyarrow.float32())})), path)


def write_lmdb(root, vectors):
    with pytest.importorskip("lmdb").open(str(root), map_size=1 << 24) as store, store.begin(write=True) as writing:
        for name, vector in vectors.items():
            file = io.BytesIO()
            np.save(file, vector)
            writing.put(name.encode(), file.getvalue())
        writing.put(b"__keys__", pickle.dumps(list(vectors)))


def write_bare_lmdb(path, vectors):
    with pytest.importorskip("lmdb").open(str(path), subdir=False, map_size=1 << 24) as store:
        with store.begin(write=True) as writing:
            for name, vector in vectors.items():
                writing.put(f"{name}.jpg".encode(), vector.tobytes())


LAYOUTS = {"npy": (write_npy, "x"), "npz": (write_npz, "x"), "matrix": (write_matrix, "x"),
           "hdf5": (write_hdf5, "x.h5"), "clip-retrieval": (write_clip_retrieval, "x"),
           "parquet": (write_parquet, "x.parquet"), "lmdb": (write_lmdb, "x"),
           "bare lmdb": (write_bare_lmdb, "x.lmdb", "--dtype", "float32")}


def npy(vector):
    file = io.BytesIO()
    np.save(file, vector)
    return file.getvalue()


def write_tar(path, contents):
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def bring(dataset, source, out, *flags, backbone="their ResNet"):
    main(["import-features", str(source), "--data", str(dataset), "--out", str(out), "--backbone", backbone,
          "--shard-rows", "8", *flags])
    return Features.open(out)


def plain(tmp_path, dataset, vectors, name="plain", *flags):
    if not (tmp_path / f"{name}-source").exists():
        write_npy(tmp_path / f"{name}-source", vectors)
    return bring(dataset, tmp_path / f"{name}-source", tmp_path / name, *flags)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_folder(dataset, tmp_path, vectors, layout):
    write, name, *flags = LAYOUTS[layout]
    write(tmp_path / name, vectors)
    features = bring(dataset, tmp_path / name, tmp_path / "f", *flags)
    assert [name.decode() for name in features.photo_id.all()] == IDS and features.width == WIDTH
    for row, photo in enumerate(IDS):
        if photo in vectors:
            assert features.status[row] == OK
            assert (features.feature.take(np.array([row]))[0] == vectors[photo]).all()
            content = features.content.take(np.array([row]))[0].tobytes()
            assert content == hashlib.sha256(vectors[photo].tobytes()).digest()
        else:
            assert features.status[row] == MISSING and not features.feature.take(np.array([row])).any()
    fields = features.recipe["fields"]
    assert fields["imported"] is True and fields["backbone"] == "their ResNet" and fields["given_as"] == "float32"
    assert features.recipe == plain(tmp_path, dataset, vectors).recipe  # whatever container they came in
    assert snapshot(tmp_path / "f") == snapshot(tmp_path / "plain")


def test_the_folder_is_whole_and_tells_what_is_known_of_it(dataset, tmp_path, vectors, capsys):
    folder = plain(tmp_path, dataset, vectors, "plain", "--licence", "CC BY 4.0").root
    capsys.readouterr()
    main(["verify", str(folder), "--full"])
    main(["inspect", str(folder), "--no-pictures"])
    card = (folder / "README.md").read_text()
    assert "said to be `their ResNet`" in card and "CC BY 4.0" in card and "elsewhere (12 numbers a photo" in card
    assert "not among the imported" in (folder / "skipped.csv").read_text()
    before = snapshot(folder)
    plain(tmp_path, dataset, vectors, "plain", "--licence", "CC BY 4.0")
    assert snapshot(folder) == before and not list((folder / ".local").glob("*.part"))


def test_a_run_can_be_trained_on_it(dataset, tmp_path, vectors):
    from train.config import make_config
    from train.session import run_training
    folder = plain(tmp_path, dataset, vectors).root
    run_training(make_config({**TINY, "epochs": 1, "missing": "mask"}), folder, tmp_path / "run")
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_other_features_are_another_recipe_and_refused(dataset, tmp_path, vectors):
    folder = plain(tmp_path, dataset, vectors).root
    write_npz(tmp_path / "other", vectors | {IDS[0]: vectors[IDS[0]] + 1})
    with pytest.raises(UserError, match="source: "):
        bring(dataset, tmp_path / "other", folder)
    with pytest.raises(UserError, match="backbone: their ResNet there, ours here"):
        bring(dataset, tmp_path / "plain-source", folder, backbone="ours")
    with pytest.raises(UserError):
        main(["--data", str(dataset), "--out", str(folder), "--backbone", "tests.tiny_backbone:factory"])


def test_what_float16_does_not_hold_is_a_bad_photo(dataset, tmp_path, vectors):
    vectors |= {IDS[0]: vectors[IDS[0]] * np.float32(1e6), IDS[1]: np.full(WIDTH, np.nan, np.float32)}
    features = plain(tmp_path, dataset, vectors)
    assert (features.status[:2] == UNREADABLE).all() and features.status[2] == OK
    assert not features.feature.take(np.array([0, 1])).any()
    assert "feature not finite" in (features.root / "skipped.csv").read_text()


def test_one_feature_under_many_ids_of_many_albums_is_a_placeholder(dataset, tmp_path, vectors):
    vectors |= {name: np.ones(WIDTH, np.float32) for name in IDS[::6]}
    features = plain(tmp_path, dataset, vectors)
    assert features.manifest.placeholders[0]["photos"] == 6 and not features.usable[::6].any()


def test_albums_are_added_to_it_as_to_any_folder(dataset, tmp_path, vectors):
    plain(tmp_path, dataset, vectors, "plain", "--limit", "4")
    names = [shard.name for shard in Features.open(tmp_path / "plain").manifest.shards["photos"]]
    features = plain(tmp_path, dataset, vectors)
    assert sorted(name.decode() for name in features.photo_id.all()) == sorted(IDS)
    assert [shard.name for shard in features.manifest.shards["photos"]][:len(names)] == names


@pytest.mark.parametrize("name, write, said", [
    ("x", lambda path: path.mkdir(), "found no .npy"),
    ("x", lambda path: (path.mkdir(), np.save(path / f"{IDS[0]}.npy", np.zeros((49, 8), np.float32))), "pool maps"),
    ("x", lambda path: (path.mkdir(), np.save(path / f"{IDS[0]}.npy", np.zeros(8, np.int64))), "found int64"),
    ("x", lambda path: (path.mkdir(), np.save(path / "7.npy", np.zeros(8, np.float32))), "the stories name none"),
    ("x", lambda path: (path.mkdir(), np.save(path / f"{IDS[0]}.npy", np.array([{}]), allow_pickle=True)),
     "pickles are refused"),
    ("x", lambda path: (path.mkdir(), np.save(path / "features.npy", np.zeros((3, 8), np.float32)),
                        (path / "photo_ids.txt").write_text("a\nb\n")), "expected an id for each of 3 rows, found 2"),
    ("x", lambda path: (path.mkdir(), np.savez(path / f"{IDS[0]}.npz", a=np.zeros(3), b=np.zeros(3))),
     "name one with --features"),
    ("x", lambda path: (path.mkdir(), *(np.save(path / f"{name}.npy", np.zeros(width, np.float32)) for name, width in
                                        ((IDS[0], 3), (IDS[1], 4)))), "expected 3 numbers of float32 for every id"),
    ("x", lambda path: (path.mkdir(), *((path / part).mkdir() for part in "ab"), *(
        np.save(path / part / f"{IDS[0]}.npy", np.full(3, value, np.float32)) for part, value in (("a", 1), ("b", 2)))),
     f"found two of {IDS[0]}"),
    ("x.h5", lambda path: path.write_bytes(b"no"), "expected an HDF5 file"),
    ("x.h5", lambda path: h5py.File(path, "w").close(), "name both with --features and --ids"),
    ("x.parquet", lambda path: path.write_bytes(b"no"), "expected a table in"),
    ("x.pt", lambda path: path.write_bytes(b"no"), "found .pt"),
    ("x.tar", lambda path: path.write_bytes(b"no" * 512), "expected a WebDataset tar"),
    ("x.tar", lambda path: write_tar(path, {f"{IDS[0]}.json": b"{not json"}), "expected a WebDataset tar"),
    ("x.tar", lambda path: write_tar(path, {f"{IDS[0]}.npy": b"no array"}), "expected an array in"),
    ("x.tar", lambda path: write_tar(path, {"0.json": b"[7]", "0.npy": npy(np.zeros(3, np.float32))}),
     "name none (first: 0)"),
    ("x.lmdb", lambda path: write_bare_lmdb(path, {IDS[0]: np.zeros(3, np.float32)}), "with --dtype"),
])
def test_what_is_no_features_is_refused_and_leaves_no_folder_that_looks_like_one(dataset, tmp_path, name, write, said):
    pytest.importorskip("pyarrow")
    write(tmp_path / name)
    with pytest.raises(UserError) as refused:
        bring(dataset, tmp_path / name, tmp_path / "f")
    assert said in str(refused.value)
    assert not (tmp_path / "f" / "manifest.json").exists() and not list(tmp_path.rglob("f/**/*.part"))


def test_a_link_out_of_an_hdf5_file_is_not_followed(dataset, tmp_path, vectors):
    write_hdf5(tmp_path / "there.h5", vectors)
    with h5py.File(tmp_path / "here.h5", "w") as file:
        for name in ("anything", "names"):
            file[name] = h5py.ExternalLink(str(tmp_path / "there.h5"), name)
    with pytest.raises(UserError, match="name both with --features and --ids"):
        bring(dataset, tmp_path / "here.h5", tmp_path / "f")


@pytest.mark.parametrize("name, expected", [("17", "17"), ("a/b/17.JPG", "17"), ("c:\\x\\17.png", "17"),
                                            ("a.b.npy", "a.b"), ("a.b", "a.b"), (" 17 ", "17"), (".jpg", ".jpg")])
def test_a_path_names_its_photo(name, expected):
    assert to_id(name) == expected


def test_a_matrix_is_never_taken_with_another_ones_table(dataset, tmp_path, vectors):
    write_clip_retrieval(tmp_path / "x", vectors)
    (tmp_path / "x" / "img_emb" / "img_emb_3.npy").unlink()
    (tmp_path / "x" / "metadata" / "metadata_7.parquet").unlink()
    with pytest.raises(UserError, match="found img_emb_7.npy, metadata_3.parquet alone"):
        bring(dataset, tmp_path / "x", tmp_path / "f")


def made_here(dataset, folder, *flags):
    main(["--data", str(dataset), "--out", str(folder), "--backbone", "tests.tiny_backbone:factory", "--weights",
          "random", "--batch-size", "4", "--precision", "float32", *flags])
    return Features.open(folder)


@pytest.mark.parametrize("form", ["npy", "parquet", "arrow", "webdataset"])
def test_a_round_trip_is_exact(dataset, tmp_path, form, capsys):
    if form in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    (dataset / "images" / f"{IDS[3]}.jpg").unlink()
    features = made_here(dataset, tmp_path / "f")
    main(["export-features", str(tmp_path / "f"), "--out", str(tmp_path / "out"), "--format", form])
    assert "35 features of width 8" in capsys.readouterr().out
    again = bring(dataset, tmp_path / "out", tmp_path / "g", backbone="the same")
    assert (again.feature.all() == features.feature.all()).all() and (again.status == features.status).all()
    assert (again.photo_id.all() == features.photo_id.all()).all() and again.recipe["fields"]["given_as"] == "float16"
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["recipe"] == features.recipe
    with pytest.raises(UserError, match="expected nothing at"):
        main(["export-features", str(tmp_path / "f"), "--out", str(tmp_path / "out"), "--format", form])
    main(["export-features", str(tmp_path / "f"), "--out", str(tmp_path / "more"), "--format", form])
    assert snapshot(tmp_path / "more") == snapshot(tmp_path / "out")


def test_others_open_what_is_exported(dataset, tmp_path):
    datasets, webdataset = pytest.importorskip("datasets"), pytest.importorskip("webdataset")
    pandas = pytest.importorskip("pandas")
    features = made_here(dataset, tmp_path / "f")
    for form in ("arrow", "webdataset", "parquet"):
        main(["export-features", str(tmp_path / "f"), "--out", str(tmp_path / form), "--format", form])
    expected = features.feature.all()
    loaded = datasets.load_from_disk(str(tmp_path / "arrow")).with_format("numpy")
    assert list(loaded["photo_id"]) == IDS and (np.stack(list(loaded["feature"])) == expected).all()
    tar = str(tmp_path / "webdataset" / "features-00000.tar")
    samples = list(webdataset.WebDataset(tar, shardshuffle=False).decode())
    assert [sample["json"]["photo_id"] for sample in samples] == IDS
    assert (np.stack([sample["npy"] for sample in samples]) == expected).all()
    table = pandas.read_parquet(tmp_path / "parquet" / "features.parquet")
    assert list(table["photo_id"]) == IDS and (np.stack(table["feature"].to_list()) == expected).all()


def test_a_check_says_how_far_they_agree(dataset, tmp_path, capsys):
    random = np.random.default_rng(8)
    for path in (dataset / "images").iterdir():
        draw_photo(random, (160, 48)).save(path)  # so wide that a crop shows something else
    made_here(dataset, tmp_path / "f")
    main(["export-features", str(tmp_path / "f"), "--out", str(tmp_path / "out"), "--format", "npy"])
    matrix = np.load(tmp_path / "out" / "features.npy").astype(np.float32)
    np.save(tmp_path / "out" / "features.npy", (matrix / 4).astype(np.float32))
    capsys.readouterr()
    bring(dataset, tmp_path / "out", tmp_path / "g", "--check", "random", backbone="tests.tiny_backbone:factory")
    squash, crop = capsys.readouterr().out.splitlines()[-2:]
    assert "36 photos by squash" in squash and "0.25 times as long: the same" in squash
    assert "36 photos by crop" in crop and not crop.endswith(": the same")
    with pytest.raises(UserError, match="expected resnet18 to give 8 numbers a photo .* found 512"):
        bring(dataset, tmp_path / "out", tmp_path / "g", "--check", "random", "--check-backbone", "resnet18",
              backbone="tests.tiny_backbone:factory")
