"""How data sets with many classes are cut into tasks: by their own hierarchy."""

from __future__ import annotations

#: torchvision's data set → group → names of its classes.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "CIFAR100": {
        group: tuple(names.split())
        for group, names in {
            "aquatic_mammals": "beaver dolphin otter seal whale",
            "fish": "aquarium_fish flatfish ray shark trout",
            "flowers": "orchid poppy rose sunflower tulip",
            "food_containers": "bottle bowl can cup plate",
            "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
            "electrical_devices": "clock keyboard lamp telephone television",
            "furniture": "bed chair couch table wardrobe",
            "insects": "bee beetle butterfly caterpillar cockroach",
            "large_carnivores": "bear leopard lion tiger wolf",
            "large_outdoor_things": "bridge castle house road skyscraper",
            "large_outdoor_scenes": "cloud forest mountain plain sea",
            "large_herbivores": "camel cattle chimpanzee elephant kangaroo",
            "medium_mammals": "fox porcupine possum raccoon skunk",
            "invertebrates": "crab lobster snail spider worm",
            "people": "baby boy girl man woman",
            "reptiles": "crocodile dinosaur lizard snake turtle",
            "small_mammals": "hamster mouse rabbit shrew squirrel",
            "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
            "vehicles_1": "bicycle bus motorcycle pickup_truck train",
            "vehicles_2": "lawn_mower rocket streetcar tank tractor",
        }.items()
    }
}

#: Omniglot's alphabets of the part that torchvision opens first ("background"), one task each.
ALPHABETS = (
    "Alphabet_of_the_Magi",
    "Anglo-Saxon_Futhorc",
    "Arcadian",
    "Armenian",
    "Asomtavruli_(Georgian)",
    "Balinese",
    "Bengali",
    "Blackfoot_(Canadian_Aboriginal_Syllabics)",
    "Braille",
    "Burmese_(Myanmar)",
    "Cyrillic",
    "Early_Aramaic",
    "Futurama",
    "Grantha",
    "Greek",
    "Gujarati",
    "Hebrew",
    "Inuktitut_(Canadian_Aboriginal_Syllabics)",
    "Japanese_(hiragana)",
    "Japanese_(katakana)",
    "Korean",
    "Latin",
    "Malay_(Jawi_-_Arabic)",
    "Mkhedruli_(Georgian)",
    "N_Ko",
    "Ojibwe_(Canadian_Aboriginal_Syllabics)",
    "Sanskrit",
    "Syriac_(Estrangelo)",
    "Tagalog",
    "Tifinagh",
)
#: EMNIST's ways of cutting its characters into classes.
EMNIST_SPLITS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
#: Orders of iNaturalist's birds, mammals, reptiles, amphibians, insects, spiders, plants and fungi.
ORDERS = (
    "Anseriformes",
    "Charadriiformes",
    "Carnivora",
    "Squamata",
    "Anura",
    "Odonata",
    "Lepidoptera",
    "Araneae",
    "Asparagales",
    "Agaricales",
)
#: Most species of a taxon of iNaturalist: some orders have more of them than a task has images.
SPECIES = 40
